"""What torch.onnx.export writes equals the module in onnxruntime, at other sizes than those it was traced with."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.ops import fast_weights_rnn
from fastweights.rules import Delta, Hebbian

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")

INPUT, HIDDEN = 5, 8
TIME, BATCH = Dim("time"), Dim("batch")
SIZES = [(3, 6), (1, 1), (2, 129), (4, 200)]
CALM = Hebbian(decay=0.9, rate=0.05)  # rounding does not grow from step to step
OPTIONS = {
    "several": {"rule": CALM, "num_layers": 2, "bidirectional": True, "learned": ("decay", "rate")},
    "batch first": {"rule": CALM, "batch_first": True, "layer_norm": False, "nonlinearity": "tanh", "inner_steps": 2},
    "another rule": {"rule": Delta()},
}


def draw(rnn, batch, time):
    places = rnn.num_layers * rnn.num_directions
    inputs = torch.randn((batch, time, INPUT) if rnn.batch_first else (time, batch, INPUT))
    return inputs, (torch.randn(places, batch, HIDDEN), 0.1 * torch.randn(places, batch, HIDDEN, HIDDEN))


def written(module, arguments, path, **options):
    """The exported model, as a function of tensors."""
    torch.onnx.export(module.eval(), arguments, path, dynamo=True, verbose=False, **options)
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    return lambda *given: session.run(None, dict(zip(names, (each.numpy() for each in given), strict=True)))


def close(got, want):
    assert len(got) == len(want)
    assert all(torch.allclose(torch.from_numpy(a), b, rtol=1e-5, atol=1e-5) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_sequence_of_any_length(name, tmp_path):
    rnn = FastWeightsRNN(INPUT, HIDDEN, **OPTIONS[name])
    inputs = {0: BATCH, 1: TIME} if rnn.batch_first else {0: TIME, 1: BATCH}
    shapes = (inputs, ({1: BATCH}, {1: BATCH}))
    program = written(rnn, draw(rnn, *SIZES[0]), tmp_path / "rnn.onnx", dynamic_shapes=shapes)
    for size in SIZES:
        sequence, state = draw(rnn, *size)
        with torch.no_grad():
            output, final = rnn(sequence, state)
        close(program(sequence, *state), [output, *final])


@pytest.mark.parametrize("time", [1, 7])
def test_a_fixed_length(time, tmp_path):
    rnn = FastWeightsRNN(INPUT, HIDDEN)
    program = written(rnn, draw(rnn, 3, time), tmp_path / "rnn.onnx")
    sequence, state = draw(rnn, 3, time)
    with torch.no_grad():
        output, final = rnn(sequence, state)
    close(program(sequence, *state), [output, *final])


def test_without_a_state(tmp_path):
    rnn = FastWeightsRNN(INPUT, HIDDEN, batch_first=True)
    shapes = {"input": {0: BATCH, 1: TIME}, "need_state": None}
    options = {"kwargs": {"need_state": False}, "dynamic_shapes": shapes}
    program = written(rnn, (torch.randn(3, 6, INPUT),), tmp_path / "rnn.onnx", **options)
    sequence = torch.randn(2, 9, INPUT)
    with torch.no_grad():
        close(program(sequence), [rnn(sequence)[0]])


def test_sequences_of_several_lengths(tmp_path):
    class Op(nn.Module):
        def forward(self, inputs, recurrent, lengths):
            return fast_weights_rnn(inputs, recurrent, lengths=lengths, rule=CALM)

    def given(*lengths):
        return torch.randn(len(lengths), max(lengths), HIDDEN), 0.1 * torch.eye(HIDDEN), torch.tensor(lengths)

    shapes = ({0: BATCH, 1: TIME}, None, {0: BATCH})
    program = written(Op(), given(6, 0, 3), tmp_path / "op.onnx", dynamic_shapes=shapes)
    arguments = given(9, 0, 4, 7)
    output, state = Op()(*arguments)
    close(program(*arguments), [output, *state])


def test_steps_of_the_cell_carry_its_state(tmp_path):
    cell = FastWeightsRNNCell(INPUT, HIDDEN, learned=("decay",))

    def empty(batch):
        return FastWeightsState(torch.zeros(batch, HIDDEN), torch.zeros(batch, HIDDEN, HIDDEN))

    shapes = ({0: BATCH}, FastWeightsState({0: BATCH}, {0: BATCH}))
    program = written(cell, (torch.randn(3, INPUT), empty(3)), tmp_path / "cell.onnx", dynamic_shapes=shapes)
    want, got = empty(20), list(empty(20))
    for step in torch.randn(5, 20, INPUT):
        with torch.no_grad():
            want = cell(step, want)
        found = program(step, *got)
        close(found, want)
        got = [torch.from_numpy(each) for each in found]
