"""What the op says to arguments that do not fit: what was got, what was wanted."""

import importlib
import logging

import pytest
import torch

from fastweights.errors import UserError
from fastweights.ops import FastWeightsState, UnsupportedBackend, fast_weights_rnn
from fastweights.ops.fast_weights_rnn import backend_of
from fastweights.rules import Delta, Hebbian


def freed(tensor):
    """Its memory is taken away, as FSDP does between two uses."""
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


def part_of_freed(tensor):
    both = torch.stack([tensor, tensor])
    second = both[1]
    both.untyped_storage().resize_(0)
    return second


LITERAL = Delta(normalize_key=False)


def arguments(**changes):
    own = {
        "inputs": torch.zeros(2, 3, 4),
        "recurrent": torch.zeros(4, 4),
        "gain": torch.ones(4),
        "bias": torch.zeros(4),
    }
    return own | changes


@pytest.mark.parametrize(
    "changes, error, message",
    [
        (
            {"inputs": torch.zeros(2, 3)},
            ValueError,
            r"inputs: got shape \[2, 3\], wanted a tensor \[batch, time, hidden\]",
        ),
        ({"inputs": [1.0]}, ValueError, "inputs: got list"),
        ({"inputs": torch.zeros(2, 3, 4, dtype=torch.int64)}, ValueError, "got torch.int64, wanted a floating"),
        ({"inputs": torch.zeros(2, 3, 0)}, ValueError, "got 0 hidden units"),
        ({"recurrent": torch.zeros(4, 5)}, ValueError, r"recurrent: got shape \[4, 5\], wanted \[4, 4\]"),
        ({"recurrent": torch.zeros(4, 4, dtype=torch.float64)}, ValueError, "recurrent: got torch.float64 on cpu"),
        ({"recurrent": 3}, TypeError, "recurrent: got int"),
        ({"gain": None}, ValueError, "got a bias and no gain"),
        ({"bias": None}, ValueError, "got a gain and no bias"),
        ({"gain": torch.ones(3)}, ValueError, r"gain: got shape \[3\], wanted \[4\]"),
        ({"state": torch.zeros(2, 4)}, ValueError, r"state: got a tensor, wanted a pair \(hidden, weights\)"),
        ({"state": (torch.zeros(2, 4),)}, ValueError, "state: got tuple of 1, wanted a pair of tensors"),
        ({"state": (torch.zeros(2, 4), None)}, ValueError, "state: got tuple of 2, wanted a pair of tensors"),
        (
            {"state": FastWeightsState(torch.zeros(3, 4), torch.zeros(3, 4, 4))},
            ValueError,
            r"state.hidden: got shape \[3, 4\], wanted \[2, 4\]",
        ),
        (
            {"state": (torch.zeros(2, 4), torch.zeros(2, 4, 3))},
            ValueError,
            r"state.weights: got shape \[2, 4, 3\], wanted \[2, 4, 4\]",
        ),
        ({"inner_steps": -1}, ValueError, "inner_steps: got -1, wanted an integer >= 0"),
        ({"inner_steps": 1.5}, ValueError, "inner_steps: got 1.5"),
        ({"nonlinearity": "gelu"}, ValueError, "nonlinearity: got 'gelu', wanted 'relu' or 'tanh'"),
        ({"rule": 0.5}, TypeError, "rule: got 0.5, wanted an update rule"),
        ({"rule": Hebbian}, TypeError, "rule: got <class .*Hebbian'>, wanted an update rule"),
        ({"lengths": torch.tensor([1, 4])}, ValueError, "lengths: got values from 1 to 4, wanted 0 to 3"),
        ({"lengths": torch.tensor([1])}, ValueError, "lengths: .*wanted 2 integers"),
        ({"lengths": torch.tensor([1.0, 2.0])}, ValueError, "lengths: got torch.float32"),
        ({"lengths": torch.ones(2, dtype=torch.complex64)}, ValueError, "lengths: got torch.complex64"),
        ({"lengths": torch.ones(2, device="meta").long()}, ValueError, r"lengths: .* on meta, wanted 2 integers"),
        ({"backend": "cuda"}, ValueError, "backend: got 'cuda', wanted 'auto' or one of 'reference', 'attention'"),
        ({"backend": "attention", "rule": LITERAL}, UnsupportedBackend, "'attention' cannot run this call: .*Delta"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        fast_weights_rnn(**arguments(**changes))


@pytest.mark.parametrize("name", ["inputs", "recurrent", "gain"])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("how", [freed, part_of_freed, lambda tensor: torch._efficientzerotensor(tensor.shape)])
def test_a_kernel_reads_no_memory_that_is_not_there(name, gradients, how):
    pytest.importorskip("numba")
    given = arguments(**{name: how(arguments()[name])})
    with torch.set_grad_enabled(gradients), pytest.raises(UserError, match="got a tensor of shape .* without memory"):
        fast_weights_rnn(**given, backend="cpu")


def test_a_gradient_without_memory_is_refused():
    pytest.importorskip("numba")
    outputs, _ = fast_weights_rnn(**arguments(inputs=torch.zeros(2, 3, 4, requires_grad=True)), backend="cpu")
    with pytest.raises(UserError, match="got a tensor of shape .* without memory"):
        outputs.backward(torch._efficientzerotensor(outputs.shape))


@pytest.mark.parametrize("backend", ["reference", "attention", "auto"])
def test_a_constant_of_one_axis_keeps_the_dtype_of_the_memory(backend):
    rule = Hebbian(torch.tensor([0.5], dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64))
    inputs = torch.randn(2, 3, 4)
    for lengths in (None, torch.tensor([1, 3])):
        given = arguments(inputs=inputs, lengths=lengths, backend=backend)
        outputs, state = fast_weights_rnn(**given, rule=rule)
        wanted, _ = fast_weights_rnn(**given, rule=Hebbian(0.5, 0.25))
        assert outputs.dtype == state.weights.dtype == torch.float32 and torch.allclose(outputs, wanted)


def test_a_sparse_tensor_is_left_to_the_reference():
    sparse = torch.eye(4).to_sparse()
    assert backend_of(**arguments(recurrent=sparse)) != "cpu"
    with pytest.raises(UnsupportedBackend, match="memory of dense tensors, and got one of layout torch.sparse_coo"):
        fast_weights_rnn(**arguments(recurrent=sparse), backend="cpu")
    with pytest.raises(ValueError, match="torch.sparse_coo, wanted a number .* or a dense"):
        Hebbian(torch.tensor(0.5).to_sparse())


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_nothing_to_do(shape):
    outputs, state = fast_weights_rnn(**arguments(inputs=torch.zeros(shape)))
    assert outputs.shape == shape
    assert state.hidden.shape == (shape[0], 4) and state.weights.shape == (shape[0], 4, 4)


def test_auto_says_what_it_chose(caplog):
    with caplog.at_level(logging.DEBUG, logger="fastweights"):
        fast_weights_rnn(**arguments())
    assert f"run by the {backend_of(**arguments())} backend" in caplog.text
    assert backend_of(**arguments(rule=LITERAL)) == "reference"
    assert backend_of(**arguments(backend="reference")) == "reference"


def test_a_slow_run_that_nobody_asked_for_is_told_once(monkeypatch, caplog):
    op = importlib.import_module("fastweights.ops.fast_weights_rnn")
    monkeypatch.setattr(op, "_warned", False)
    monkeypatch.setattr(op, "TOY", 2 * 5 * 4**2)
    recurrent = torch.eye(4)
    with torch.no_grad(), caplog.at_level(logging.WARNING, logger="fastweights"):
        fast_weights_rnn(torch.randn(2, 6, 4), recurrent, rule=LITERAL, backend="reference")
        fast_weights_rnn(torch.randn(2, 6, 4), recurrent, rule=Delta())
        fast_weights_rnn(torch.randn(2, 5, 4), recurrent, rule=LITERAL)
        assert backend_of(torch.randn(2, 6, 4), recurrent, rule=LITERAL) == "reference" and not caplog.records
        fast_weights_rnn(torch.randn(2, 6, 4), recurrent, rule=LITERAL)
        fast_weights_rnn(torch.randn(2, 6, 4), recurrent, rule=LITERAL)
    assert len(caplog.records) == 1
    said = caplog.records[0].getMessage()
    assert said.startswith("note: ") and "backend='reference'" in said
    assert "normalize_key=False" in said and "[2, 6, 4]" in said


def test_constants_without_a_gradient_may_be_floats():
    torch.manual_seed(0)
    changes = {"inputs": torch.randn(2, 3, 4), "recurrent": torch.randn(4, 4)}
    as_floats, _ = fast_weights_rnn(**arguments(**changes, rule=Hebbian(0.5, 0.25)))
    as_tensors, _ = fast_weights_rnn(**arguments(**changes, rule=Hebbian(torch.tensor(0.5), torch.tensor(0.25))))
    assert torch.equal(as_floats, as_tensors)
