import pytest
import torch
from scan_calls import assert_close, draw, results

from fastweights import rules
from fastweights.ops.fast_weights_scan import BACKENDS

RULES = {name: kind() for name, kind in rules.scanned().items()}
FAST = {name: rule for name, rule in RULES.items() if hasattr(rule, "lower")}
BACKEND = [name for name in BACKENDS if name != "reference"]


def compared(rule, backend, tolerance=1e-10, settings=None, **sizes):
    leaves = draw(rule, **sizes)
    settings = settings or {}
    want = results(leaves, rule, "reference", **settings)
    assert all(torch.isfinite(each).all() for each in want)
    assert_close(results(leaves, rule, backend, **settings), want, tolerance)


@pytest.mark.parametrize("time", [1, 2, 17, 63, 130])
@pytest.mark.parametrize("backend", BACKEND)
@pytest.mark.parametrize("rule", FAST.values(), ids=FAST)
def test_a_backend_equals_the_loop(rule, backend, time):
    compared(rule, backend, time=time, initial=time != 17)
