"""The associative LSTM: its kernels, its symbols, its memory."""

import pytest
import torch
from equations import BATCH, INPUT, TIME, assert_close, draw, flat, gradients
from torch import nn

from fastweights.nn import associative_lstm
from fastweights.nn.associative_lstm import AssociativeLSTM, read, write


@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-10), (torch.float32, 2e-4)])
@pytest.mark.parametrize(
    "batch,time,options", [(0, 2, {}), (3, 1, {}), (19, 4, {}), (16, 3, {"num_copies": 1}), (33, 2, {"num_heads": 1})]
)
def test_associative_lstm_kernels_equal_the_operations_of_torch(monkeypatch, batch, time, options, dtype, tolerance):
    module, input, state = draw(AssociativeLSTM, batch=batch, time=time, **options)
    leaves = [input, *state, *module.parameters()]
    for leaf in leaves:
        leaf.data = leaf.data.to(dtype)
    results = []
    for kernels in (True, False):
        assert not kernels or associative_lstm.runs(*leaves)
        if not kernels:
            monkeypatch.setattr(associative_lstm, "runs", lambda *_: False)
        result = flat(module(input, state))
        assert result[0].dtype == dtype
        results.append([*result, *gradients(result, leaves)])
    if batch:
        assert_close(*results, tolerance)
    else:
        assert [r.shape for r in results[0]] == [r.shape for r in results[1]]


def test_associative_lstm_gradients_are_those_of_finite_differences():
    module, input, state = draw(AssociativeLSTM, batch=2, time=3, num_copies=2, num_heads=2)
    names, leaves = zip(*module.named_parameters(), strict=True)

    def run(input, hidden, memory, *leaves):
        named = dict(zip(names, leaves, strict=True))
        return tuple(flat(torch.func.functional_call(module, named, (input, (hidden, memory)))))

    assert torch.autograd.gradcheck(run, (input, *state, *leaves))


def test_associative_lstm_backward_passes_repeat_and_have_no_gradient_of_their_own():
    module, input, _ = draw(AssociativeLSTM)
    loss = module(input)[0].square().sum()
    (first,) = torch.autograd.grad(loss, input, retain_graph=True)
    (again,) = torch.autograd.grad(loss, input, create_graph=True)
    assert torch.equal(first, again)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        again.sum().backward()


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("num_symbols", [INPUT - 1, INPUT])  # each symbol is projected once, or looked up
def test_associative_lstm_of_symbols_is_that_of_their_features(monkeypatch, num_symbols, kernels):
    module, _, _ = draw(AssociativeLSTM)
    features = torch.randn(num_symbols, INPUT, dtype=torch.float64, requires_grad=True)
    symbols, leaves = torch.randint(0, num_symbols, (BATCH, TIME)), [features, *module.parameters()]
    want = module(nn.functional.embedding(symbols, features))[0][:, -1]
    if not kernels:
        monkeypatch.setattr(associative_lstm, "runs", lambda *_: False)
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
