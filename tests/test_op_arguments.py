"""What the op says to arguments that do not fit: what was got, what was wanted."""

import logging

import pytest
import torch

from fastweights.ops import FastWeightsState, UnsupportedBackend, fast_weights_rnn
from fastweights.ops.fast_weights_rnn import backend_of
from fastweights.rules import Delta, Hebbian


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
        ({"lengths": torch.tensor([1, 4])}, ValueError, "lengths: got values from 1 to 4, wanted 0 to 3"),
        ({"lengths": torch.tensor([1])}, ValueError, "lengths: .*wanted 2 integers"),
        ({"lengths": torch.tensor([1.0, 2.0])}, ValueError, "lengths: got torch.float32"),
        ({"backend": "cuda"}, ValueError, "backend: got 'cuda', wanted 'auto' or one of 'reference', 'attention'"),
        ({"backend": "attention", "rule": Delta()}, UnsupportedBackend, "'attention' cannot run this call: .*Delta"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        fast_weights_rnn(**arguments(**changes))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_nothing_to_do(shape):
    outputs, state = fast_weights_rnn(**arguments(inputs=torch.zeros(shape)))
    assert outputs.shape == shape
    assert state.hidden.shape == (shape[0], 4) and state.weights.shape == (shape[0], 4, 4)


def test_auto_says_what_it_chose(caplog):
    with caplog.at_level(logging.DEBUG, logger="fastweights"):
        fast_weights_rnn(**arguments())
    assert f"run by the {backend_of(**arguments())} backend" in caplog.text
    assert backend_of(**arguments(rule=Delta())) == "reference"
    assert backend_of(**arguments(backend="reference")) == "reference"


def test_constants_without_a_gradient_may_be_floats():
    torch.manual_seed(0)
    changes = {"inputs": torch.randn(2, 3, 4), "recurrent": torch.randn(4, 4)}
    as_floats, _ = fast_weights_rnn(**arguments(**changes, rule=Hebbian(0.5, 0.25)))
    as_tensors, _ = fast_weights_rnn(**arguments(**changes, rule=Hebbian(torch.tensor(0.5), torch.tensor(0.25))))
    assert torch.equal(as_floats, as_tensors)
