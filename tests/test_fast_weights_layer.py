"""The layer and the model: every registered rule in them, streamed as whole, padded as alone."""

import copy
import io
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from fastweights.errors import UserError
from fastweights.nn import CausalAttention, FastWeightsLayer, FastWeightsModel
from fastweights.nn.feature_maps import FEATURES
from fastweights.nn.layer_state import LayerState, state_bytes
from fastweights.rules import Delta, DeltaProduct, Gate, GatedDelta, Hebbian, KimiDelta, Mamba2, scanned
from fastweights.rules._scan import ScanState, outer, read

RULES = scanned()
SIZE, HEADS = 12, 2
exact = {"atol": 1e-10, "rtol": 1e-10}
every_rule = pytest.mark.parametrize("rule", [kind() for kind in RULES.values()], ids=RULES)


def layer_of(rule, **options):
    torch.manual_seed(0)
    return FastWeightsLayer(SIZE, HEADS, rule, dtype=torch.float64, **options)


def model_of(*layers, **options):
    torch.manual_seed(0)
    return FastWeightsModel(5, SIZE, layers, HEADS, start=0.3, dtype=torch.float64, **options)


def inputs(time=9, batch=3, size=SIZE):
    return torch.randn(batch, time, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(one, other):
    for a, b in zip(torch.utils._pytree.tree_leaves(one), torch.utils._pytree.tree_leaves(other), strict=True):
        torch.testing.assert_close(a, b, **exact)


def streamed(module, x, state=None, parts=None):
    outputs = []
    for part in x.split(parts or 1, 1):
        output, state = module(part, state)
        outputs.append(output)
    return torch.cat(outputs, 1), state


@every_rule
def test_streamed_is_whole_and_gradients_are_finite(rule):
    layer, x = layer_of(rule), inputs().requires_grad_()
    whole = layer(x)
    close(streamed(layer, x), whole)
    close(streamed(layer, x, parts=[4, 3, 2]), whole)
    whole[0].square().sum().backward()
    for name, parameter in [("x", x), *layer.named_parameters()]:
        assert (
            parameter.grad is not None and bool(parameter.grad.isfinite().all()) and parameter.grad.abs().sum() > 0
        ), name


@every_rule
def test_a_short_sequence_is_as_it_is_alone_and_a_reset_is_a_beginning(rule):
    layer, x = layer_of(rule), inputs()
    lengths = torch.tensor([9, 4, 1])
    output, state = layer(x, lengths=lengths)
    for place, length in enumerate(lengths.tolist()):
        alone = layer(x[place : place + 1, :length])
        close((output[place : place + 1, :length], state.select(slice(place, place + 1))), alone)
        assert not output[place, length:].any()
    resets = torch.zeros(3, 9, dtype=torch.bool)
    resets[0, 0], resets[1, 5] = True, True
    before = layer(inputs(4))[1]
    output, state = layer(x, before, resets=resets)
    close(output[:1], layer(x[:1])[0])
    close((output[1:2, 5:], state.select(slice(1, 2))), layer(x[1:2, 5:]))
    close(output[2:], layer(x[2:], before.select(slice(2, 3)))[0])
    close(layer(x[:, :3], before.reset(torch.tensor([True, False, False])))[0][:1], layer(x[:1, :3])[0])


@every_rule
def test_gates_start_in_their_range_where_the_rule_says(rule):
    layer = layer_of(rule)
    for name, gate in layer.gates(inputs()).items():
        told = rule.GATES[name]
        assert bool((gate >= told.low).all()) and bool((gate <= told.high).all()), name


def test_decays_and_steps_start_as_in_the_papers():
    gates = FastWeightsLayer(64, 64, GatedDelta()).gates
    rates = gates.log_decay_rate_log.exp()
    assert 0 < rates.min() < 2 < 14 < rates.max() < 16  # uniform in (0, 16)
    steps = torch.nn.functional.softplus(gates.log_decay_bias)
    assert 1e-3 <= steps.min() < 2e-3 and 0.05 < steps.max() <= 0.1001
    assert steps.log().mean().item() == pytest.approx(-4.6, abs=0.5)  # log-uniform
    gates = FastWeightsLayer(64, 64, Mamba2()).gates
    assert gates.forget_number.exp().min() > 1 and 10 < gates.forget_number.exp().max() < 16
    assert FastWeightsLayer(12, 2, KimiDelta()).gates.log_decay_bias.shape == (12,)


def test_negative_eigenvalues_double_the_strength_alone():
    x = inputs()
    for rule in (Delta(), GatedDelta()):
        one, two = layer_of(rule).gates(x), layer_of(rule, negative_eigenvalues=True).gates(x)
        torch.testing.assert_close(two.pop("strength"), 2 * one.pop("strength"))
        close(one, two)


@pytest.mark.parametrize("rule, leave_out", [(Hebbian(), ()), (Mamba2(), ()), (Delta(), ("strength",))], ids=str)
def test_a_rule_that_cannot_turn_what_it_holds_has_no_negative_eigenvalues(rule, leave_out):
    able = "Comba, Delta, DeltaProduct, GatedDelta, GatedDelta2, KimiDelta, Oja, Titans"
    says = (
        f"negative_eigenvalues: got {type(rule).__name__}, none of whose gates may reach 2.*, or a rule such as {able}"
    )
    with pytest.raises(UserError, match=says):
        layer_of(rule, negative_eigenvalues=True, leave_out=leave_out)


def test_a_gate_that_is_left_out_is_the_constant_of_the_rule():
    layer = layer_of(Delta(rate=0.3), leave_out=("strength",))
    assert list(layer.gates(inputs())) == []
    with pytest.raises(
        UserError, match="leave_out: got 'strength', wanted those of GatedDelta that may be left out: none"
    ):
        layer_of(GatedDelta(), leave_out=("strength",))


@pytest.mark.parametrize("features", FEATURES)
def test_every_feature_map_has_the_size_it_says_and_streams(features):
    layer = layer_of(Hebbian(0.9, 0.1), features=(features, "l2"))
    size = FEATURES[features].size(SIZE // HEADS)
    whole = layer(inputs())
    assert whole[1].memory.weights.shape == (3, HEADS, SIZE // HEADS, size)
    close(streamed(layer, inputs()), whole)


def test_feature_maps_are_their_equations():
    q, k = inputs(1)[0, 0, :4], inputs(1)[1, 0, :4]
    taylor, s = FEATURES["taylor"].function, (q @ k) / 2
    torch.testing.assert_close(taylor(q) @ taylor(k), 1 + s + s * s / 2)
    r = [max(x, 0.0) for x in q.tolist()] + [max(-x, 0.0) for x in q.tolist()]
    want = [r[i] * r[i - j] for j in (1, 2) for i in range(8)]
    torch.testing.assert_close(FEATURES["dpfp-2"].function(q), torch.tensor(want, dtype=torch.float64))
    assert FEATURES["l2"].function(q).norm().item() == pytest.approx(1.0, abs=1e-6)
    assert FEATURES["sum"].function(FEATURES["elu+1"].function(q)).sum().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("options", [
    {"convolution": 0}, {"convolution": 1}, {"output_norm": False}, {"output_gate": "silu"}, {"output_gate": "sigmoid"},
    {"key_size": 5, "value_size": 7}, {"features": "identity"},
], ids=str)  # fmt: skip
def test_options_stream_and_learn(options):
    layer, x = layer_of(GatedDelta(), **options), inputs()
    whole = layer(x)
    close(streamed(layer, x), whole)
    whole[0].sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_called_as_an_lstm_is():
    layer, x = layer_of(GatedDelta()), inputs()
    output, (memory, recent) = layer(x)
    assert output.shape == x.shape and memory.weights.shape == (3, 2, 6, 6) and recent.shape == (3, 3, 36)
    late = layer_of(GatedDelta(), batch_first=False)
    close(late(x.transpose(0, 1))[0].transpose(0, 1), output)
    close(layer(x[0])[0], output[0])
    assert layer.ran in ("chunkwise", "cpu", "reference")


def test_under_autocast_the_memory_keeps_its_precision():
    layer = FastWeightsLayer(SIZE, HEADS, KimiDelta(), output_gate="silu")
    x = inputs().float()
    with torch.autocast("cpu", torch.bfloat16):
        output, state = layer(x)
        streamed(layer, x)
    assert state.memory.weights.dtype == torch.float32
    torch.testing.assert_close(output.float(), layer(x)[0], atol=0.05, rtol=0.05)


def test_layers_and_models_can_be_pickled_and_copied():
    model, x = model_of(Delta(), "attention"), inputs(size=5)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        close(other(x)[0], model(x)[0])


@pytest.mark.parametrize("layers", [(Delta(),), ("attention",)], ids=str)
def test_under_autocast_a_model_streams_as_whole(layers):
    model, x = model_of(*layers).float(), inputs(size=5).float()
    with torch.autocast("cpu", torch.bfloat16):
        whole = model(x)[0]
        pieces, state = streamed(model, x, parts=[5, 1, 3])
    torch.testing.assert_close(pieces.float(), whole.float(), atol=0.05, rtol=0.05)
    torch.testing.assert_close(whole.float(), model(x)[0], atol=0.05, rtol=0.05)
    model(x, state)  # and goes on without


def test_a_state_is_measured_cut_and_saved():
    layer = layer_of(GatedDelta())
    _, state = layer(inputs())
    assert state.bytes == 8 * (3 * 2 * 6 * 6 + 3 * 3 * 36) == state_bytes(state)
    assert state.memory.weights.requires_grad and not state.detach().memory.weights.requires_grad
    stored = io.BytesIO()
    torch.save(state.detach(), stored)
    stored.seek(0)
    loaded = torch.load(stored, weights_only=True)
    assert isinstance(loaded, LayerState)
    close(loaded, state)
    half = state.to(torch.float32)
    assert half.memory.weights.dtype == half.recent.dtype == torch.float32 and isinstance(half, LayerState)


@pytest.mark.parametrize("layers", [(Delta(), GatedDelta()), (GatedDelta(), "attention", DeltaProduct())], ids=str)
@pytest.mark.parametrize("options", [{}, {"mlp": 0, "output_gate": "silu"}], ids=str)
def test_a_model_streams_pads_and_learns(layers, options):
    model, x, lengths = model_of(*layers, **options), inputs(size=5), torch.tensor([9, 4, 1])
    whole = model(x)
    close(streamed(model, x)[0], whole[0])
    close(streamed(model, x, parts=[4, 5])[0], whole[0])
    output, state = model(x, lengths=lengths)
    for place, length in enumerate(lengths.tolist()):
        close(output[place : place + 1, :length], model(x[place : place + 1, :length])[0])
        assert not output[place, length:].any()
        after = model(torch.cat([x[place : place + 1, :length], x[place : place + 1]], 1))[0][:, length:]
        close(model(x, state)[0][place : place + 1], after)
    output.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("layers", [(GatedDelta(), Delta()), (Delta(), "attention"), ("attention",)], ids=str)
def test_a_reset_of_a_model_is_a_beginning(layers):
    model, x = model_of(*layers), inputs(size=5)
    before, lengths = model(inputs(4, size=5))[1], torch.tensor([9, 9, 6])
    resets = torch.zeros(3, 9, dtype=torch.bool)
    resets[0, 0], resets[1, 3], resets[1, 7], resets[2, 8] = True, True, True, True  # the last is past the end
    output, state = model(x, before, lengths=lengths, resets=resets)
    close(output[:1], model(x[:1])[0])
    close(output[1:2, 3:7], model(x[1:2, 3:7])[0])
    close(output[1:2, 7:], model(x[1:2, 7:])[0])
    alone = model(inputs(4, size=5)[2:], None)[1]
    close(output[2:], model(x[2:], alone, lengths=lengths[2:])[0])
    later = inputs(2, size=5)
    after = model(later, state)[0]  # what came before a reset stays unseen in the next call
    close(after[:1], model(torch.cat([x[:1], later[:1]], 1))[0][:, 9:])
    close(after[1:2], model(torch.cat([x[1:2, 7:], later[1:2]], 1))[0][:, 2:])
    close(after[2:], model(torch.cat([inputs(4, size=5)[2:], x[2:, :6], later[2:]], 1))[0][:, 10:])
    parts, state = [], before
    for part, begins in zip(x.split([4, 1, 4], 1), resets.split([4, 1, 4], 1), strict=True):
        one, state = model(part, state, resets=begins)
        parts.append(one)
    close(torch.cat(parts, 1)[:2], output[:2])


def test_attention_is_softmax_over_what_came_before():
    torch.manual_seed(0)
    layer, x = CausalAttention(SIZE, HEADS, convolution=0, dtype=torch.float64), inputs()
    q, k, v = layer.projection(x).unflatten(-1, (3, HEADS, -1)).unbind(2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / 6**0.5
    scores = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf).softmax(-1)
    want = layer.output(torch.einsum("bhts,bshd->bthd", scores, v).flatten(2))
    close(layer(x)[0], want)
    assert layer(x)[1].bytes == 8 * 2 * 3 * 9 * SIZE


@dataclass(frozen=True)
class Forgetful:
    """A rule of one's own: what is not renewed is gone after a token."""

    GATES: ClassVar[dict[str, Gate]] = {"kept": Gate("what is kept", "value")}

    def step(self, state, query, key, value, kept):
        weights = kept.unsqueeze(-1) * state.weights + outer(value, key)
        return read(weights, query), ScanState(weights)


def test_a_rule_of_ones_own_needs_no_registration():
    layer = layer_of(Forgetful())
    whole = layer(inputs())
    assert layer.ran == "reference" and list(layer.gates(inputs())) == ["kept"]
    close(streamed(layer, inputs()), whole)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: FastWeightsLayer(12, 5), "got size=12 and heads=5, wanted heads that divide the size"),
        (lambda: FastWeightsLayer(12, 2, Delta), "got the rule .*, wanted one with GATES and a step"),
        (lambda: FastWeightsLayer(12, 2, features="elu"), r"features: got 'elu'; did you mean elu.1\?, wanted some of"),
        (
            lambda: FastWeightsLayer(12, 2, output_gate="tanh"),
            "got output_gate='tanh', wanted None, 'silu' or 'sigmoid'",
        ),
        (lambda: FastWeightsLayer(12, 2, convolution=-1), "got convolution=-1, wanted steps from 0 to 64"),
        (lambda: FastWeightsLayer(12, 2)(inputs().float(), inputs()), "got a state of type Tensor, wanted a pair"),
        (
            lambda: layer_of(Delta())(inputs(), (None, inputs())),
            r"got the recent inputs \[3, 9, 12\] of torch.float64 on cpu, wanted \[3, 3, 36\]",
        ),
        (
            lambda: layer_of(Delta())(inputs(batch=2), layer_of(Delta())(inputs())[1]),
            r"got the recent inputs \[3, 3, 36\] of torch.float64 on cpu, wanted \[2, 3, 36\]",
        ),
        (lambda: FastWeightsModel(5, 12, 2), r"got layers=2, wanted one rule a layer, as \(Delta\(\), Delta\(\)\)"),
        (lambda: FastWeightsModel(5, 12, ("delta",)), "got the layer 'delta', wanted an update rule, or 'attention'"),
        (lambda: model_of(Delta())(inputs(size=5), (1, 2)), "got 2 states, wanted a tuple of 1, one a layer"),
        (lambda: CausalAttention(12, 5), "got size=12 and heads=5, wanted heads that divide the size"),
    ],
)
def test_bad_arguments(make, says):
    with pytest.raises(UserError, match=says):
        make()


@pytest.mark.parametrize(
    "module",
    [
        FastWeightsLayer(SIZE, HEADS),
        FastWeightsModel(SIZE, SIZE, (Delta(), "attention"), HEADS),
        CausalAttention(SIZE, HEADS, convolution=4),
    ],
    ids=lambda module: type(module).__name__,
)
def test_bad_calls(module):
    x = inputs().float()
    state, name = module(x)[1], type(module).__name__
    for arguments, says in [
        ((x.double(),), f"{name}: got an input of torch.float64 on cpu, wanted torch.float32 on cpu as the weights"),
        ((x.to("meta"),), f"{name}: got an input of torch.float32 on meta, wanted torch.float32 on cpu"),
        ((x, x), f"{name}: got .*Tensor, wanted an? (pair|tuple|AttentionState)"),
        ((x, 3), f"{name}: got .*int, wanted an? (pair|tuple|AttentionState)"),
        ((x[:2], state), r"got .*3.*, wanted .*2"),
    ]:
        with pytest.raises(UserError, match=says):
            module(*arguments)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([9, 3, 1]), batch_first=True)
    with pytest.raises(TypeError, match="got an input of type PackedSequence, wanted .*; pad it, and give `lengths`"):
        module(packed)
    with pytest.raises(
        UserError, match=r"resets: got torch.bool of shape \[3, 8\], wanted torch.bool of shape \[3, 9\]"
    ):
        module(x, resets=torch.zeros(3, 8, dtype=torch.bool))
    for lengths, says in [
        ([9.0, 3.0, 1.0], "lengths: got torch.float32"),
        ([9, 3], r"lengths: got torch.int64 of shape \[2\] on cpu, wanted 3 integers"),
        ([10, 3, 1], "lengths: got values from 1 to 10, wanted 0 to 9"),
        ([9, 3, -1], "lengths: got values from -1 to 9, wanted 0 to 9"),
    ]:
        with pytest.raises(UserError, match=says):
            module(x, lengths=torch.tensor(lengths))
    close(module(x, lengths=[9, 3, 1])[0], module(x, lengths=torch.tensor([9, 3, 1], dtype=torch.uint8))[0])
