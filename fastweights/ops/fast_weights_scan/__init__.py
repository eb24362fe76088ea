"""Memories that do not feed back into their own keys: linear attention, the delta rule and their kin.

One signature over many rules and several backends; each backend equals `reference.py`, the loop over the rule's `step`.

Shapes:

- queries [batch, time, heads, key], values [batch, time, heads, value], the state's weights [batch, heads, value, key].
- A gate is [batch, time, heads], or has one more axis, as `GATES` of the rule says.
- Decays are logs of what is kept: 0 keeps all.
- Queries are not scaled. Nothing is normalised but where a rule says so, as `Delta` and `Oja` do by default.
- A rule with n substeps takes n keys and values a token, [batch, n * time, heads, ...], one after the other.
"""

import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastweights.errors import UnsupportedBackend, UserError
from fastweights.ops.fast_weights_scan import chunkwise, cpu, reference, triton
from fastweights.ops.fast_weights_scan.call import Call, check
from fastweights.rules import Delta, ScanState

torch.serialization.add_safe_globals([ScanState])
pytree._register_namedtuple(ScanState, serialized_type_name="fastweights.ScanState")  # torch.export.save

BACKENDS: dict[str, ModuleType] = {
    "reference": reference,
    "chunkwise": chunkwise,
    "cpu": cpu,
    "triton": triton,
}

FEW = 4  # tokens that the loop runs faster than chunks do

_log = logging.getLogger("fastweights")


def fast_weights_scan(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    gates: Mapping[str, Tensor] = {},
    *,
    rule: Any = Delta(),  # noqa: B008 - frozen
    state: ScanState | None = None,
    resets: Tensor | None = None,
    lengths: Tensor | None = None,
    chunk: int | None = None,
    backend: str = "auto",
) -> tuple[Tensor, ScanState]:
    r"""Write values under keys into fast weights, token by token, and read them by queries.

        S_t, o_t = rule.step(S_{t-1}, q_t, k_t, v_t, gates_t)        a token is written before it is read

    It differs from `fast_weights_rnn` in that keys, values and queries are given: no token waits for what an earlier
    one has read, so that whole chunks of tokens are matrix products.

    Args:
        queries: [batch, time, heads, key]; they are not scaled.
        keys: [batch, time, heads, key].
        values: [batch, time, heads, value].
        gates: by name, what `rule.GATES` lists; decays are logs of what is kept, at most 0.
        rule: an update rule of `fastweights.rules` that has a `step`, or your own.
        state: what an earlier call returned; None: zeros.
        resets: [batch, time], true where a token begins anew, from zeros.
        lengths: [batch], the valid tokens of each sequence; outputs past its end are zero, and its state stops there.
        chunk: tokens of a chunk, where a backend has them; None: what is fast.
        backend: "auto" takes the fastest that can run this call; `backend_of` of the same arguments names it. Or
            "reference", "chunkwise", "cpu" or "triton". The last runs only where it is named: no GPU has run it yet.

    Returns:
        The outputs [batch, time, heads, value], and the state after the last token, a plain tuple. Differentiable in
        every tensor argument, the state and the constants of the rule included. Half precision is computed in float32,
        under autocast too; outputs are then of the dtype of the queries, the state stays float32.

    Raises:
        UserError: an argument is of the wrong shape, dtype, device or range.
        UnsupportedBackend: the named backend cannot run this call; the message says why.
    """
    call = check(queries, keys, values, gates, rule, state, resets, lengths, chunk)
    return run(call, backend)[:2]


def run(call: Call, backend: str = "auto") -> tuple[Tensor, ScanState, str]:
    """Outputs and state of a call that was checked, and the name of the backend that ran it."""
    device = call.queries.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return run(call, backend)
    name = choose(call, backend)
    outputs, state = BACKENDS[name].run(call)
    return outputs.to(call.dtype), state, name


def backend_of(
    queries: Tensor, keys: Tensor, values: Tensor, gates: Mapping[str, Tensor] | None = None, **options: Any
) -> str:
    """The name of the backend that `fast_weights_scan` takes for these arguments."""
    backend = options.pop("backend", "auto")
    settings = {"rule": Delta(), "state": None, "resets": None, "lengths": None, "chunk": None} | options
    return choose(check(queries, keys, values, gates or {}, **settings), backend)


def choose(call: Call, backend: str = "auto") -> str:
    """The name of the backend that runs `call`; raises `UnsupportedBackend` where a named one cannot."""
    if backend == "auto":
        name = _fastest(call)
        if not torch.compiler.is_compiling():
            _log.debug("fast_weights_scan: keys %s run by the %s backend", list(call.keys.shape), name)
        return name
    if backend not in BACKENDS:
        raise UserError(f"backend: got {backend!r}, wanted 'auto' or one of {', '.join(map(repr, BACKENDS))}")
    reason = BACKENDS[backend].why_not(call)
    if reason is not None:
        raise UnsupportedBackend(f"backend {backend!r} cannot run this call: {reason}. backend='auto' can")
    return backend


def why_not(call: Call) -> dict[str, str | None]:
    """For every backend, why it cannot run `call`, or None where it can."""
    return {name: module.why_not(call) for name, module in BACKENDS.items()}


def _fastest(call: Call) -> str:
    if cpu.why_not(call) is None:
        return "cpu"
    if call.queries.shape[1] > FEW and chunkwise.why_not(call) is None:
        return "chunkwise"
    return "reference"
