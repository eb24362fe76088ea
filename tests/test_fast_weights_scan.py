"""Every rule of the registry, by every backend, against the loop over its own step."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from scan_calls import assert_close, draw, gates_of, results, run

from fastweights import rules
from fastweights.errors import UserError
from fastweights.ops import ScanState, fast_weights_scan
from fastweights.ops.fast_weights_scan import BACKENDS, backend_of, check, why_not
from fastweights.rules import Delta, GatedDelta, Hebbian, KimiDelta, LinearAttention

RULES = {name: kind() for name, kind in rules.scanned().items()}
BACKEND = [name for name in BACKENDS if name not in ("reference", "triton")]  # its interpreter: test_scan_triton.py
EACH = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
FAST = pytest.mark.parametrize("backend", BACKEND)


def call_of(leaves, rule, state=None, resets=None, lengths=None, chunk=None):
    inputs = (leaves[name] for name in ("queries", "keys", "values"))
    return check(*inputs, gates_of(leaves, rule), rule, state, resets, lengths, chunk)


def compared(rule, backend, tolerance=1e-10, settings=None, **sizes):
    """Outputs, state and all gradients; true where the backend has the rule."""
    leaves, settings = draw(rule, **sizes), settings or {}
    if why_not(call_of(leaves, rule))[backend] is not None:
        return False
    want = results(leaves, rule, "reference", **settings)
    assert all(torch.isfinite(each).all() for each in want)
    assert_close(results(leaves, rule, backend, **settings), want, tolerance)
    return True


def broken(time, batch=2):
    """Resets, none, one or many, and lengths of a batch."""
    resets = torch.zeros(batch, time, dtype=torch.bool)
    resets[0, [0, time // 3, time // 3 + 1, time - 1]] = True
    return {"resets": resets, "lengths": torch.tensor([time, time // 2 + 1])}


@pytest.mark.parametrize("time", [1, 2, 17, 63])
@FAST
@EACH
def test_a_backend_equals_the_loop(rule, backend, time):
    compared(rule, backend, time=time, initial=time != 17)


@FAST
@EACH
def test_strong_decays_resets_and_ragged_lengths(rule, backend):
    """Decays from 0 to -60 a token, over several chunks."""
    compared(rule, backend, time=70, batch=2, heads=1, lowest=-60.0, initial=True, settings=broken(70))


@pytest.mark.parametrize(("key", "value", "time"), [(16, 16, 130), (33, 7, 130), (128, 64, 40)])
@pytest.mark.parametrize("rule", [GatedDelta(), KimiDelta()], ids=["GatedDelta", "KimiDelta"])
@FAST
def test_other_sizes(rule, backend, key, value, time):
    compared(rule, backend, time=time, key=key, value=value, heads=1, lowest=-60.0, initial=True)


@pytest.mark.parametrize("chunk", [1, 8, 64])
@pytest.mark.parametrize("rule", [KimiDelta(), rules.RWKV7(), rules.DeltaProduct(3)], ids=["Kimi", "RWKV7", "Product"])
def test_other_chunks(rule, chunk):
    assert compared(rule, "chunkwise", time=37, lowest=-60.0, settings={"chunk": chunk} | broken(37))


@EACH
def test_streamed_equals_whole(rule):
    """A token alone, then some by the loop, then many by what is fast."""
    leaves = {name: leaf.detach() for name, leaf in draw(rule, time=40, initial=True).items()}
    want, end = run(leaves, rule, "reference")
    state, outputs = None, []
    for start, stop in ((0, 1), (1, 4), (4, 40)):
        part, steps = dict(leaves), getattr(rule, "substeps", 1)
        for name, leaf in leaves.items():
            if name in ("keys", "values") or (name in rule.GATES and rule.GATES[name].axes == "substep"):
                part[name] = leaf[:, start * steps : stop * steps]
            elif not name.startswith("state") and not (name in rule.GATES and rule.GATES[name].axes.startswith("head")):
                part[name] = leaf[:, start:stop]
        if state is not None:
            part |= {f"state{place}": each for place, each in enumerate((state.weights, *state.others))}
        output, state = run(part, rule, "auto")
        outputs.append(output)
    assert_close([torch.cat(outputs, 1), state.weights, *state.others], [want, end.weights, *end.others])


@FAST
@EACH
def test_float32_error_is_at_most_twice_that_of_the_loop(rule, backend):
    """Root mean square errors against float64, the geometric mean of their ratio over draws."""
    if why_not(call_of(draw(rule), rule))[backend] is not None:
        return
    logs: dict[int, list[float]] = {}
    for seed in range(4):
        exact = draw(rule, batch=1, heads=8, time=70, key=8, value=6, seed=seed, dtype=torch.float32, lowest=-4.0)
        truth = results(
            {name: leaf.detach().double().requires_grad_() for name, leaf in exact.items()}, rule, "reference"
        )
        errors = [
            [
                (each - true).square().mean().sqrt().item()
                for each, true in zip(results(exact, rule, name), truth, strict=True)
            ]
            for name in (backend, "reference")
        ]
        for place, (mine, loop) in enumerate(zip(*errors, strict=True)):
            if loop:
                logs.setdefault(place, []).append(math.log(max(mine, loop / 100) / loop))
    ratios = {place: math.exp(sum(each) / len(each)) for place, each in logs.items()}
    assert max(ratios.values()) <= 2, ratios


@pytest.mark.parametrize("rule", [GatedDelta(), KimiDelta()], ids=["GatedDelta", "KimiDelta"])
def test_what_is_kept_for_the_gradient_grows_as_time(rule):
    def kept(time):
        leaves, found = draw(rule, time=time, key=16, value=16, dtype=torch.float32), {}

        def note(tensor):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outputs, _ = run(leaves, rule, "chunkwise")
            return sum(found.values()), outputs

    assert kept(1024)[0] < 2.1 * kept(512)[0]


@pytest.mark.parametrize("backend", BACKEND)
@pytest.mark.parametrize("kind", [Delta, rules.Oja])
@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_constants_that_are_tensors_get_their_gradient(backend, decay, kind):
    leaves = draw(Delta(), time=9)
    leaves.pop("strength")

    def made(which):
        constants = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (decay, 0.7)]
        outputs, state = run(leaves, kind(*constants), which)
        return outputs, state.weights, *torch.autograd.grad(outputs.square().sum() + state.weights.sum(), constants)

    if why_not(call_of(leaves, kind()))[backend] is not None:
        assert kind is rules.Oja  # whose read no backend but chunks transposes
        return
    assert_close(made(backend), made("reference"))
    numbers = run(leaves, kind(decay, 0.7), backend)[0]
    assert_close([numbers], [made("reference")[0]])


@dataclass(frozen=True)
class Newest:
    """A user's rule: the newest value alone, when its gate is open."""

    GATES: ClassVar[dict] = {"open": rules.Gate("whether the new value is taken")}

    def step(self, state, query, key, value, open):
        weights = torch.lerp(state.weights, value.unsqueeze(-1) * key.unsqueeze(-2), open[..., None, None])
        return (weights @ query.unsqueeze(-1)).squeeze(-1), ScanState(weights)


def test_a_rule_of_the_user_runs_by_the_loop():
    leaves = draw(Newest(), time=9)
    leaves["open"] = torch.ones_like(leaves["open"])
    inputs = [leaves[name] for name in ("queries", "keys", "values")]
    outputs, state = fast_weights_scan(*inputs, {"open": leaves["open"]}, rule=Newest())
    assert backend_of(*inputs, {"open": leaves["open"]}, rule=Newest()) == "reference"
    assert_close([state.weights], [leaves["values"][:, -1, :, :, None] * leaves["keys"][:, -1, :, None, :]])
    with pytest.raises(ValueError, match="'chunkwise' cannot run this call: Newest has no fast form"):
        fast_weights_scan(*inputs, {"open": leaves["open"]}, rule=Newest(), backend="chunkwise")
    assert outputs.shape == leaves["values"].shape


def test_auto_takes_chunks_where_they_pay():
    leaves = draw(GatedDelta(), time=40)
    inputs = [leaves[name] for name in ("queries", "keys", "values")]
    assert backend_of(*inputs, gates_of(leaves, GatedDelta()), rule=GatedDelta()) != "reference"
    one = [each[:, :1] for each in inputs]
    gates = {name: gate[:, :1] for name, gate in gates_of(leaves, GatedDelta()).items()}
    assert backend_of(*one, gates, rule=GatedDelta()) != "chunkwise"


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize(("batch", "time"), [(0, 3), (2, 0)])
def test_nothing_in_is_nothing_out(backend, batch, time):
    leaves = draw(LinearAttention(), batch=batch, time=time, initial=True)
    outputs, state = run(leaves, LinearAttention(), backend)
    assert outputs.shape == (batch, time, 2, 3) and state.weights.shape == (batch, 2, 3, 5)
    assert_close([state.weights, *state.others], [leaves["state0"], leaves["state1"]])


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_nothing_comes_out_of_the_padding(backend):
    leaves = {name: leaf.detach() for name, leaf in draw(GatedDelta(), time=20).items()}
    lengths = torch.tensor([20, 7])
    want = run(leaves, GatedDelta(), backend, lengths=lengths)
    for leaf in leaves.values():
        leaf[1, 7:] = math.nan
    got = run(leaves, GatedDelta(), backend, lengths=lengths)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1].weights, want[1].weights)
    assert (got[0][1, 7:] == 0).all()


def test_a_state_is_a_plain_tuple():
    state = run(draw(LinearAttention(), time=5), LinearAttention(), "auto")[1]
    weights, (total,) = state
    assert state.bytes == 8 * (2 * 2 * 3 * 5 + 2 * 2 * 5)
    assert weights.requires_grad and not state.detach().weights.requires_grad
    anew = state.reset(torch.tensor([True, False]))
    assert (anew.weights[0] == 0).all() and torch.equal(anew.others[0][1], total[1])
    assert torch.equal(state.select([1, 1, 0]).others[0], total[[1, 1, 0]])
    assert state.to(torch.float32).weights.dtype == torch.float32
    leaves = draw(LinearAttention(), time=3)
    inputs = [leaves[name] for name in ("queries", "keys", "values")]
    fast_weights_scan(*inputs, rule=LinearAttention(), state=(weights, (total,)))  # any tuple of these tensors
    with pytest.raises(ValueError, match=r"ScanState.reset: got torch.int64 of shape \[2\], wanted torch.bool"):
        state.reset(torch.tensor([1, 0]))


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_half_precision_is_computed_in_single(backend):
    time = 6 if backend == "triton" else 40  # its interpreter is slow
    half = {name: leaf.detach().bfloat16() for name, leaf in draw(GatedDelta(), time=time).items()}
    outputs, state = run(half, GatedDelta(), backend)
    want, end = run({name: leaf.float() for name, leaf in half.items()}, GatedDelta(), backend)
    assert outputs.dtype == torch.bfloat16 and torch.equal(outputs, want.bfloat16())
    assert state.weights.dtype == torch.float32 and torch.equal(state.weights, end.weights)
    single = {name: leaf.float() for name, leaf in half.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run(single, GatedDelta(), backend)[0], want)
        mixed = single | {"queries": half["queries"]}
        assert torch.equal(
            run(mixed, GatedDelta(), backend, state=end)[0], run(half, GatedDelta(), backend, state=end)[0]
        )


def wrong(change, rule=None, **settings):
    """What a call says after `change` of its tensors."""
    rule = GatedDelta() if rule is None else rule
    leaves = {name: leaf.detach() for name, leaf in draw(GatedDelta(), time=3).items()}
    inputs = {name: leaves[name] for name in ("queries", "keys", "values")}
    gates = {name: leaves[name] for name in ("log_decay", "strength")}
    change(inputs, gates)
    with pytest.raises(ValueError) as raised:
        fast_weights_scan(**inputs, gates=gates, rule=rule, **settings)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def at(value, name="strength"):
    def change(inputs, gates):
        gates[name][0, 1, 0] = value

    return change


def given(**tensors):
    def change(inputs, gates):
        for name, tensor in tensors.items():
            (inputs if name in inputs else gates)[name] = tensor

    return change


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        (at(math.nan), {}, "gates['strength']: got NaN, wanted numbers from 0 to 2 (GatedDelta: how much"),
        (at(2.5), {}, "gates['strength']: got 2.5, wanted numbers from 0 to 2"),
        (at(0.1, "log_decay"), {}, "gates['log_decay']: got 0.1, wanted numbers <= 0 (GatedDelta: log of what is kept)"),
        (lambda i, g: g.pop("strength"), {}, "gates: got no 'strength', wanted a tensor [2, 3, 2]: GatedDelta needs it"),
        (given(strenth=torch.ones(2)), {}, "gates: got 'strenth'; did you mean strength?; GatedDelta has the gates"),
        (lambda i, g: None, {"rule": Hebbian()}, "gates: got 'log_decay'; Hebbian has no gates"),
        (given(strength=torch.ones(2, 3)), {}, "gates['strength']: got shape [2, 3], wanted [2, 3, 2] to go with queries"),
        (given(strength=torch.ones(2, 3, 2)), {}, "gates['strength']: got torch.float32 on cpu, wanted torch.float64"),
        (given(strength=0.5), {}, "gates['strength']: got float, wanted a tensor [2, 3, 2]"),
        (given(queries=torch.ones(2, 3, 5)), {}, "queries: got shape [2, 3, 5], wanted a tensor [batch, time, heads, key]"),
        (given(keys=[1.0]), {}, "keys: got list, wanted a tensor [batch, time, heads, key]"),
        (given(queries=torch.ones(2, 3, 2, 5).long()), {}, "queries: got torch.int64, wanted a floating-point tensor"),
        (given(keys=torch.ones(2, 3, 2, 5)), {}, "keys: got torch.float32 on cpu, wanted torch.float64 on cpu as the q"),
        (given(keys=torch.ones(2, 3, 2, 4).double()), {}, "keys: got shape [2, 3, 2, 4], wanted [2, 3, 2, 5] to go with"),
        (given(values=torch.ones(2, 4, 2, 3).double()), {}, "values: got shape [2, 4, 2, 3], wanted [2, 3, 2, 3]"),
        (given(values=torch.ones(2, 3, 2, 0).double()), {}, "values: got shape [2, 3, 2, 0], wanted at least one head"),
        (lambda i, g: None, {"rule": rules.TTTLinear()}, "values: got 3 numbers a head, wanted 5 as the keys, for TTTLinear"),
        (lambda i, g: None, {"rule": rules.DeltaProduct()}, "keys: got shape [2, 3, 2, 5], wanted [2, 6, 2, 5]"),
        (lambda i, g: None, {"state": (torch.zeros(2, 2, 5, 3).double(),)}, "state: got [2, 2, 5, 3], wanted ScanState(w"),
        (lambda i, g: None, {"state": torch.zeros(2)}, "state: got Tensor, wanted ScanState(weights [2, 2, 3, 5], others ())"),
        (lambda i, g: None, {"state": (torch.zeros(2, 2, 3, 5),)}, "state: got torch.float32 on cpu, wanted torch.float64"),
        (lambda i, g: None, {"resets": torch.zeros(2, 3)}, "resets: got torch.float32 of shape [2, 3], wanted torch.bool"),
        (lambda i, g: None, {"lengths": torch.tensor([4, 1])}, "lengths: got values from 1 to 4, wanted 0 to 3"),
        (lambda i, g: None, {"lengths": torch.tensor([1.0, 1])}, "lengths: got torch.float32 of shape [2] on cpu, wanted 2"),
        (lambda i, g: None, {"chunk": 48}, "chunk: got 48, wanted a power of two from 1 to 256, or None"),
        (lambda i, g: None, {"backend": "fused"}, "backend: got 'fused', wanted 'auto' or one of 'reference', 'chunkwise'"),
        (lambda i, g: None, {"rule": rules.Cosine()}, "wanted one with GATES and a step, such as Delta()"),
        (lambda i, g: None, {"rule": Delta}, "rule: got <class"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(change, settings, says):
    assert says in wrong(change, **settings)


def test_gates_are_told_apart_from_their_dict():
    leaves = draw(GatedDelta(), time=3)
    inputs = [leaves[name] for name in ("queries", "keys", "values")]
    with pytest.raises(ValueError, match="gates: got list, wanted a dict of tensors by the names of gates"):
        fast_weights_scan(*inputs, [1], rule=GatedDelta())


@pytest.mark.parametrize("substeps", [0, 17, 1.5, True])
def test_substeps_of_a_delta_product_are_few(substeps):
    with pytest.raises(ValueError, match=r"DeltaProduct\(substeps=.*\): wanted an integer from 1 to 16"):
        rules.DeltaProduct(substeps)


def test_a_product_of_one_is_gated_delta():
    leaves = draw(GatedDelta(), time=9)
    assert_close(results(leaves, rules.DeltaProduct(1), "auto"), results(leaves, GatedDelta(), "reference"))


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda state, value: value, r"Own.step: got Tensor, wanted a pair \(output \[2, 3, 5\], ScanState"),
        (lambda state, value: (value, state.weights), r"Own.step: got \(Tensor, Tensor\), wanted a pair"),
        (
            lambda state, value: (value[..., :2], state),
            r"Own.step: got an output of shape \[2, 3, 2\], wanted \[2, 3, 5\]",
        ),
        (
            lambda state, value: (value, ScanState(state.weights.mT)),
            r"Own.step: got a state of shapes \[\[2, 3, 4, 5\]\], wanted \[\[2, 3, 5, 4\]\]",
        ),
    ],
)
def test_what_a_step_of_ones_own_gives_is_checked(step, says):
    class Own:
        GATES: ClassVar = {}

        def step(self, state, query, key, value):
            return step(state, value)

    keys, values = torch.randn(2, 6, 3, 4), torch.randn(2, 6, 3, 5)
    with pytest.raises(UserError, match=says):
        fast_weights_scan(keys, keys, values, rule=Own())


def test_what_a_rule_of_ones_own_declares_is_checked():
    class Own:
        GATES: ClassVar = {}

        def step(self, state, query, key, value):
            return value, state

        def lower(self, queries, keys, values):
            return values

    class Told(Own):
        GATES: ClassVar = {"open": "how much"}

    x = torch.randn(2, 6, 3, 4)
    with pytest.raises(UserError, match="Own.lower: got Tensor, wanted a Step, or None"):
        fast_weights_scan(x, x, x, rule=Own())
    with pytest.raises(UserError, match=r"Told.GATES\['open'\]: got str, wanted a Gate"):
        fast_weights_scan(x, x, x, rule=Told())
