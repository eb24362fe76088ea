"""From symbols to the last hidden vector: the same numbers as the op on looked-up inputs, and what falls back to it."""

import threading

import pytest
import torch
from builds import build
from torch.utils.flop_counter import FlopCounterMode

from fastweights import FastWeightsRNN
from fastweights.errors import UserError
from fastweights.nn import IRNN, LNGRU, LSTM, AssociativeLSTM, SequenceModel
from fastweights.ops.cpu import buffers
from fastweights.ops.cpu import threads as cpu_threads
from fastweights.ops.fast_weights_rnn import cpu_passes
from fastweights.ops.fast_weights_rnn.symbols import last_hidden
from fastweights.rules import Delta, Hebbian
from fastweights.tasks import Spec
from fastweights.training.config import Config

pytest.importorskip("numba")


def network(hidden=9, inputs=5, dtype=torch.float64, **options):
    torch.manual_seed(0)
    rnn = FastWeightsRNN(inputs, hidden, batch_first=True, dtype=dtype, **options)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return rnn


def sequences(batch=7, time=6, entries=11, inputs=5, dtype=torch.float64, seed=1):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(entries, inputs, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    return torch.randint(entries, (batch, time), generator=g), features


def outcome(rnn, symbols, features, last):
    """The last hidden vectors and the gradient of everything."""
    hidden = last(symbols, features)
    weigh = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    leaves, loss = [features, *rnn.parameters()], (hidden * weigh.to(hidden.dtype)).sum()
    return [hidden.detach(), *torch.autograd.grad(loss, leaves, materialize_grads=True)]


def fused(rnn):
    def last(symbols, features):
        hidden, backend = rnn.last_of_symbols(symbols, features)
        assert backend == "cpu" and "LastHidden" in hidden.grad_fn.name()
        return hidden

    return last


def by_reference(rnn):
    def last(symbols, features):
        rnn.backend = "reference"
        try:
            return rnn(features[symbols])[0][:, -1]
        finally:
            rnn.backend = "auto"

    return last


def assert_same(got, want, tolerance=1e-10):
    for ours, true in zip(got, want, strict=True):
        assert torch.allclose(
            ours, true, rtol=tolerance, atol=tolerance * float(true.detach().abs().max().clamp(min=1))
        )


@pytest.mark.parametrize("hidden", [1, 7, 8, 33])
@pytest.mark.parametrize("batch", [1, 8, 19])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_it_is_the_reference_and_so_are_all_gradients(hidden, batch, inner_steps):
    rnn = network(hidden, inner_steps=inner_steps, nonlinearity="tanh", learned=("decay", "rate"))
    given = sequences(batch)
    assert_same(outcome(rnn, *given, fused(rnn)), outcome(rnn, *given, by_reference(rnn)))


@pytest.mark.parametrize("options", [{"layer_norm": False}, {"bias": False}, {"nonlinearity": "relu"}])
@pytest.mark.parametrize("time", [1, 2, 63])
def test_it_is_the_reference_in_other_networks_too(options, time):
    rnn = network(**({"nonlinearity": "tanh"} | options))
    given = sequences(time=time)
    assert_same(outcome(rnn, *given, fused(rnn)), outcome(rnn, *given, by_reference(rnn)))


def test_without_a_graph_it_is_the_same():
    rnn, (symbols, features) = network(), sequences(batch=19)
    with torch.no_grad():
        assert torch.equal(rnn.last_of_symbols(symbols, features)[0], fused_value(rnn, symbols, features))


def fused_value(rnn, symbols, features):
    with torch.enable_grad():
        return fused(rnn)(symbols, features).detach()


def test_symbols_may_be_views_and_the_gradient_may_be_strided():
    rnn, (symbols, features) = network(), sequences(batch=12, time=10)
    view = symbols[::2, 1:9:2]
    want = outcome(rnn, view.clone(), features, fused(rnn))
    assert_same(outcome(rnn, view, features, fused(rnn)), want, 0)

    def strided(symbols, features):
        return fused(rnn)(symbols, features).t()

    def copied(symbols, features):
        return by_reference(rnn)(symbols, features).t()

    assert_same(outcome(rnn, view, features, strided), outcome(rnn, view, features, copied))


@pytest.mark.parametrize("options", [{}, {"rule": Delta()}])
def test_nothing_depends_on_uninitialised_memory(options, monkeypatch):
    rnn, given = network(**options), sequences(batch=11)
    want = outcome(rnn, *given, fused(rnn))
    original = cpu_passes.scratch
    monkeypatch.setattr(cpu_passes, "scratch", lambda *a: original(*a).fill_(float("nan")))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(buffers, "_spare", {})
    torch.use_deterministic_algorithms(True)
    try:
        got = outcome(rnn, *given, fused(rnn))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(got, want, 0)


def test_two_passes_may_be_in_flight_and_one_may_go_back_twice():
    rnn, (symbols, features) = network(), sequences()
    other = sequences(seed=5)[0]
    first, second = fused(rnn)(symbols, features), fused(rnn)(other, features)
    want = [torch.autograd.grad(fused(rnn)(s, features).sum(), features)[0] for s in (symbols, other)]
    for _ in range(2):
        got = [torch.autograd.grad(h.sum(), features, retain_graph=True)[0] for h in (first, second)]
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("hidden,batch,time", [(64, 300, 9), (64, 200, 9), (12, 200, 40)])
def test_the_number_of_threads_changes_no_bit(hidden, batch, time, monkeypatch):
    monkeypatch.setattr(cpu_threads, "PAYS", 0)
    rnn = network(hidden, dtype=torch.float32)
    symbols, table = sequences(batch, time, inputs=hidden, dtype=torch.float32)
    identity = torch.eye(hidden)  # its products, which are torch's, are exact

    def outcome_with(threads):
        torch.set_num_threads(threads)
        slow = rnn.weight_hh_l0, rnn.gain_l0, rnn.bias_l0
        hidden = last_hidden(table, identity, None, symbols, *slow, rnn.rule, 1, "relu")
        return hidden, *torch.autograd.grad(hidden.square().sum(), [table, *slow])

    before = torch.get_num_threads()
    try:
        one, *others = (outcome_with(threads) for threads in (1, 2, 3))
    finally:
        torch.set_num_threads(before)
    for other in others:
        assert_same(other, one, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2},
        {"bidirectional": True},
        {"rule": Delta(normalize_key=False)},
        {"backend": "attention"},
        {"dtype": torch.bfloat16},
    ],
)
def test_what_it_cannot_do_the_op_does(options):
    rnn = network(**options)
    symbols, features = sequences(dtype=options.get("dtype", torch.float64))
    hidden, backend = rnn.last_of_symbols(symbols, features)
    outputs, _ = rnn(features[symbols])
    assert torch.allclose(hidden, outputs[:, -1], rtol=1e-2 if hidden.dtype == torch.bfloat16 else 1e-9)
    assert backend == rnn.ran


@pytest.mark.parametrize("wrong", [-1, 11])
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("graph", [True, False])
def test_a_symbol_that_is_not_in_the_table_is_an_error(wrong, place, graph):
    rnn, (symbols, features) = network(), sequences(batch=37)
    symbols[place, place] = wrong
    wanted = f"got {min(wrong, 0)} to {max(wrong, 10)}, wanted 0 to 10"
    with pytest.raises(IndexError, match=wanted), torch.set_grad_enabled(graph):
        rnn.last_of_symbols(symbols, features)


def test_a_long_sequence_is_left_to_the_op():
    rnn, (symbols, features) = network(), sequences(batch=2, time=300)
    hidden, _ = rnn.last_of_symbols(symbols, features)
    assert torch.allclose(hidden, rnn(features[symbols])[0][:, -1])


def test_a_classifier_reads_by_it():
    rnn = network(inputs=11, dtype=torch.float32, rule=Hebbian(decay=0.9))
    model = SequenceModel(rnn, Spec(11, 3), 9)
    symbols, _ = sequences()
    want = model.head(rnn(model.features[symbols])[0][:, -1])
    assert torch.allclose(model(symbols), want, atol=1e-6) and model.backend == "cpu"


HOOKS = ["forward_pre_hook", "forward_hook", "full_backward_pre_hook", "full_backward_hook"]


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("name", ["RNN-LN-FW", "LSTM", "IRNN", "A-LSTM"])
def test_a_network_that_is_watched_is_called(name, kind):
    model = build(name, Config(hidden_size=8, embedding_sizes=(20,)), 11, 3)  # more features than symbols
    symbols, _ = sequences()
    want = model(symbols)
    for watched in model.recurrent.modules():
        seen = []
        handle = getattr(watched, f"register_{kind}")(lambda *_, seen=seen: seen.append(1))
        got = model(symbols)
        got.sum().backward()
        handle.remove()
        assert torch.allclose(got, want, atol=1e-6) and len(seen) == 1
        assert model.backend == ("cpu" if name == "RNN-LN-FW" else "torch")
    seen = []
    model(symbols)
    assert not seen and model.backend == "cpu"
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    model(symbols)
    handle.remove()
    assert model.recurrent in seen


@pytest.mark.parametrize("wrong", ["weight_hh_l0", "gain_l0", "bias_l0"])
def test_weights_of_another_size_are_an_error(wrong):
    rnn, (symbols, features) = network(), sequences()
    setattr(rnn, wrong, torch.nn.Parameter(getattr(rnn, wrong).detach()[..., :3].clone()))
    with pytest.raises(ValueError, match="wanted"):
        rnn.last_of_symbols(symbols, features)


def test_no_sequence_gives_no_hidden_vector():
    rnn, (symbols, features) = network(), sequences()
    assert rnn.last_of_symbols(symbols[:0], features)[0].shape == (0, 9)


def test_autocast_leaves_the_lookup_to_the_op():
    rnn, (symbols, features) = network(dtype=torch.float32), sequences(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, _ = rnn.last_of_symbols(symbols, features)
        want = rnn(features[symbols])[0][:, -1]
    assert torch.allclose(hidden, want, atol=1e-5) and "LastHidden" not in hidden.grad_fn.name()


def test_a_mode_that_looks_at_each_operation_sees_them():
    rnn, (symbols, features) = network(), sequences()
    counted = []
    with FlopCounterMode(display=False) as counter:
        rnn.last_of_symbols(symbols, features)
    counted.append(counter.get_total_flops())
    assert counted[0] > 2 * symbols.numel() * 9 * 9


def test_buffers_are_on_the_cpu_whatever_the_default_device_is(monkeypatch):
    rnn, (symbols, features) = network(), sequences()
    want = outcome(rnn, symbols, features, fused(rnn))
    monkeypatch.setattr(buffers, "_local", threading.local())
    monkeypatch.setattr(buffers, "_spare", {})
    with torch.device("meta"):
        hidden, _ = rnn.last_of_symbols(symbols, features)
        (gradient,) = torch.autograd.grad(hidden, features, torch.ones_like(hidden, device="cpu"))
    assert torch.equal(hidden, want[0]) and gradient.isfinite().all()


def test_what_is_not_read_in_the_backward_pass_may_change_before_it():
    rnn, (symbols, features) = network(), sequences()
    rnn.weight_ih_l0.requires_grad_(False)
    features = features.detach()
    hidden, _ = rnn.last_of_symbols(symbols, features)
    features.zero_()
    assert torch.autograd.grad(hidden.sum(), rnn.weight_hh_l0)[0].isfinite().all()


@pytest.mark.parametrize("name", ["RNN-LN-FW", "LSTM", "IRNN", "A-LSTM"])
def test_a_forward_of_ones_own_is_called(name):
    model, (symbols, _) = build(name, Config(hidden_size=8), 11, 3), sequences()
    theirs = type(model.recurrent)

    def twice(recurrent, inputs):
        output, state = theirs.forward(recurrent, inputs)
        return 2 * output, state

    want = model.head(twice(model.recurrent, model.features[symbols])[0][:, -1])
    model.recurrent.__class__ = type("Own", (theirs,), {"forward": twice})
    assert torch.allclose(model(symbols), want, atol=1e-6)
    model.recurrent.__class__ = type("Named", (theirs,), {})  # nothing is changed: by symbols
    assert not torch.allclose(model(symbols), want, atol=1e-2)
    model.recurrent.forward = lambda inputs: twice(model.recurrent, inputs)
    assert torch.allclose(model(symbols), want, atol=1e-6)


@pytest.mark.parametrize("name", ["RNN-LN-FW", "LSTM", "IRNN", "A-LSTM"])
def test_symbols_of_32_bits_have_the_gradients_of_those_of_64(name):
    model, (symbols, _) = build(name, Config(hidden_size=8), 11, 3).double(), sequences()
    want = torch.autograd.grad(model(symbols).square().sum(), model.parameters())
    got = torch.autograd.grad(model(symbols.int()).square().sum(), model.parameters())
    for one, other in zip(got, want, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("inner_steps", -1, "inner_steps: got -1"),
        ("inner_steps", True, "inner_steps: got True"),
        ("nonlinearity", "x", "nonlinearity: got 'x'"),
        ("bias_l0", None, "got a gain and no bias"),
        ("weight_ih_l0", torch.nn.Parameter(torch.zeros(9)), r"weight_ih_l0: got shape \[9\]"),
        ("weight_ih_l0", torch.nn.Parameter(torch.zeros(9, 5, device="meta")), "got a weight on meta, wanted cpu"),
    ],
)
def test_what_was_set_later_is_looked_at(name, value, message):
    rnn, (symbols, features) = network(dtype=torch.float32), sequences(dtype=torch.float32)
    setattr(rnn, name, value)
    with pytest.raises(ValueError, match=message):
        rnn.last_of_symbols(symbols, features)


@pytest.mark.parametrize("name", ["weight_hh_l0", "gain_l0"])
def test_weights_without_memory_are_refused(name):
    rnn, (symbols, features) = network(), sequences()
    rnn._parameters[name] = torch._efficientzerotensor(getattr(rnn, name).shape, dtype=torch.float64)
    with pytest.raises(UserError, match="without memory"):
        rnn.last_of_symbols(symbols, features)


def test_symbols_that_numpy_changes_later_are_those_of_the_forward_pass():
    rnn, (symbols, features) = network(), sequences()
    wanted = torch.autograd.grad(rnn.last_of_symbols(symbols, features)[0].sum(), features)[0]
    last = rnn.last_of_symbols(symbols, features)[0].sum()
    symbols.numpy()[:] = 10**6  # torch does not notice
    assert torch.equal(torch.autograd.grad(last, features)[0], wanted)


@pytest.mark.parametrize("kind", [FastWeightsRNN, IRNN, LSTM, AssociativeLSTM, LNGRU])
def test_symbols_on_meta_are_refused(kind, as_users_have_it):
    model = SequenceModel(kind(5, 4, **{"batch_first": True} if kind is FastWeightsRNN else {}), Spec(5, 2), 4)
    with pytest.raises(ValueError, match="symbols: got a tensor on meta, wanted cpu as the features"):
        model(torch.zeros(2, 3, dtype=torch.int64, device="meta"))
    with pytest.raises(ValueError, match="SequenceModel: got inputs of type list, wanted a tensor"):
        model([[1, 2, 3]])


@pytest.mark.parametrize("wrong", [torch.zeros(1), torch.zeros(4, dtype=torch.float16), torch.zeros(4, 4)])
def test_biases_of_which_only_the_sum_would_fit_are_left_to_torch(wrong):
    rnn, symbols, features = IRNN(5, 4), torch.zeros(2, 3, dtype=torch.int64), torch.ones(1, 5)
    rnn.rnn.bias_hh_l0 = torch.nn.Parameter(wrong)
    try:
        wanted = rnn(features[symbols])[0][:, -1]
    except RuntimeError:
        with pytest.raises(RuntimeError):
            rnn.last_of_symbols(symbols, features)
    else:
        assert torch.allclose(rnn.last_of_symbols(symbols, features)[0], wanted)
