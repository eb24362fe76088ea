"""The associative LSTM: its kernels, its symbols, its memory."""

import pytest
import torch
from equations import BATCH, INPUT, TIME, assert_close, draw, flat, gradients
from torch import nn

from fastweights.nn.associative_lstm import AssociativeLSTM, read, write
from fastweights.ops.cpu import limits


def both(module, input, state, dtype, monkeypatch):
    """Outputs, state and all gradients, by the kernels and by the operations of torch."""
    leaves = [input, *state, *module.parameters()]
    for leaf in leaves:
        leaf.data = leaf.data.to(dtype)
    results = []
    for kernels in (True, False):
        assert not kernels or limits.takes(*leaves)
        with monkeypatch.context() as patch:
            if not kernels:
                patch.setattr(limits, "takes", lambda *_: False)
            result = flat(module(input, state))
            results.append([*result, *gradients(result, leaves)])
        assert all(r.dtype == dtype for r in results[-1])
    return results


CASES = [(0, 2, {}), (3, 1, {}), (19, 4, {}), (16, 2, {"num_copies": 1}), (33, 17, {"num_heads": 1}), (5, 63, {})]


@pytest.mark.parametrize("hidden", [2, 6, 26])
@pytest.mark.parametrize("batch,time,options", CASES)
def test_associative_lstm_kernels_equal_the_operations_of_torch(monkeypatch, batch, time, options, hidden):
    drawn = draw(AssociativeLSTM, batch=batch, time=time, hidden=hidden, **options)
    kernels, plain = both(*drawn, torch.float64, monkeypatch)
    if batch:
        assert_close(kernels, plain)
    else:
        assert [r.shape for r in kernels] == [r.shape for r in plain]


@pytest.mark.parametrize("batch,time,options", [case for case in CASES if case[0]])
def test_associative_lstm_kernels_round_as_the_operations_of_torch(monkeypatch, batch, time, options):
    drawn = draw(AssociativeLSTM, batch=batch, time=time, hidden=26, **options)
    _, true = both(*drawn, torch.float64, monkeypatch)
    kernels, plain = both(*drawn, torch.float32, monkeypatch)
    for got, eager, want in zip(kernels, plain, true, strict=True):
        size = want.norm() + 1e-30
        assert (got - want).norm() / size <= max(2 * (eager - want).norm() / size, 2e-6)


def test_associative_lstm_kernels_depend_on_no_uninitialised_memory(monkeypatch):
    drawn = draw(AssociativeLSTM, batch=19, time=4)
    want, _ = both(*drawn, torch.float64, monkeypatch)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    try:
        got, _ = both(*drawn, torch.float64, monkeypatch)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_associative_lstm_gradients_are_those_of_finite_differences():
    module, input, state = draw(AssociativeLSTM, batch=2, time=3, num_copies=2, num_heads=2)
    names, leaves = zip(*module.named_parameters(), strict=True)

    def run(input, hidden, memory, *leaves):
        named = dict(zip(names, leaves, strict=True))
        return tuple(flat(torch.func.functional_call(module, named, (input, (hidden, memory)))))

    assert torch.autograd.gradcheck(run, (input, *state, *leaves))


def test_associative_lstm_backward_passes_repeat_and_have_no_gradient_of_their_own():
    module, input, _ = draw(AssociativeLSTM)
    total = module(input)[0].sum()
    (first,) = torch.autograd.grad(total, input, retain_graph=True)
    (again,) = torch.autograd.grad(total, input, retain_graph=True)
    assert torch.equal(first, again)
    with pytest.raises(RuntimeError, match="got create_graph=True"):
        torch.autograd.grad(total, input, create_graph=True)
    with pytest.raises(RuntimeError, match="the CPU kernels cannot do"):
        torch.autograd.functional.hessian(lambda x: module(x)[0].square().sum(), input)


def test_associative_lstm_refuses_permutations_that_are_none():
    with torch.device("meta"):
        module = AssociativeLSTM(INPUT, 6)
    module = module.to_empty(device="cpu")
    module.permutations.fill_(3)
    with pytest.raises(IndexError, match="permutations: got numbers from 3 to 3, wanted 0 to 2"):
        module(torch.zeros(1, 2, INPUT))
    module.reset_parameters()
    assert torch.equal(module.permutations, AssociativeLSTM(INPUT, 6).permutations)


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("num_symbols", [INPUT - 1, INPUT])  # each symbol is projected once, or looked up
def test_associative_lstm_of_symbols_is_that_of_their_features(monkeypatch, num_symbols, kernels):
    module, _, _ = draw(AssociativeLSTM)
    features = torch.randn(num_symbols, INPUT, dtype=torch.float64, requires_grad=True)
    symbols, leaves = torch.randint(0, num_symbols, (BATCH, TIME)), [features, *module.parameters()]
    want = module(nn.functional.embedding(symbols, features))[0][:, -1]
    if not kernels:
        monkeypatch.setattr(limits, "takes", lambda *_: False)
    got, backend = module.last_of_symbols(symbols, features)
    assert backend == ("cpu" if kernels else "torch")
    assert_close([got, *gradients([got], leaves)], [want, *gradients([want], leaves)])
    with pytest.raises(IndexError):
        module.last_of_symbols(symbols + num_symbols, features)


def test_associative_lstm_runs_under_transforms_of_torch_func():
    module, input, _ = draw(AssociativeLSTM)
    assert_close([torch.func.vmap(lambda each: module(each)[0])(input)], [module(input)[0]])
    want = torch.autograd.grad(module(input)[0].sum(), input)
    assert_close([torch.func.grad(lambda input: module(input)[0].sum())(input)], want)


def test_associative_lstm_retrieves_with_less_noise_from_more_copies():
    def unit_modulus(*shape):
        phase = 2 * torch.pi * torch.rand(*shape, dtype=torch.float64)
        return phase.cos(), phase.sin()

    def signal_to_noise(num_copies):
        module, units = AssociativeLSTM(1, 512, num_copies=num_copies, num_heads=2), 256
        keys, values = unit_modulus(2, units, 20), unit_modulus(2, units, 20)  # two pairs in each of 20 memories
        empty = torch.zeros(num_copies, units, 20, dtype=torch.float64)
        memory = write((empty, empty), module.copies(keys), values)
        real, imaginary = read(memory, module.copies((keys[0], -keys[1])))  # the conjugate keys
        return 1.0 / ((real - values[0]) ** 2 + (imaginary - values[1]) ** 2).mean().item()

    ratios = [signal_to_noise(n) for n in (1, 4, 16)]
    assert ratios[0] == pytest.approx(1.0, rel=0.1)  # the other pair is as strong as the one that is read
    assert ratios[1] == pytest.approx(4.0, rel=0.2)
    assert ratios[2] == pytest.approx(16.0, rel=0.4)


def test_associative_lstm_permutations_are_fixed_and_saved():
    first, again, other = AssociativeLSTM(5, 64), AssociativeLSTM(5, 64), AssociativeLSTM(5, 64, seed=1)
    assert torch.equal(first.permutations, again.permutations)
    assert not torch.equal(first.permutations, other.permutations)
    assert torch.equal(first.permutations.sort(-1).values, torch.arange(32).expand(4, 32))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.permutations, other.permutations)


def test_associative_lstm_wants_an_even_hidden_size():
    with pytest.raises(ValueError, match="AssociativeLSTM: got hidden_size=7, wanted an even number"):
        AssociativeLSTM(5, 7)


def test_permutations_on_meta_are_refused():
    rnn = AssociativeLSTM(3, 4)
    rnn.permutations = rnn.permutations.to("meta")
    with pytest.raises(ValueError, match="permutations: got them on meta, wanted cpu"):
        rnn(torch.randn(2, 5, 3))
