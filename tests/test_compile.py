"""Training by segments under torch.compile has the numbers of eager, and compiles no more once a state was carried."""

import shutil

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fastweights import FastWeightsRNN, FastWeightsRNNCell

INPUT, HIDDEN, BATCH, SEGMENTS = 5, 8, 3, 20
compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler")
CASES = [
    pytest.param(lambda: FastWeightsRNN(INPUT, HIDDEN, batch_first=True), "aot_eager", id="one layer"),
    pytest.param(
        lambda: FastWeightsRNN(INPUT, HIDDEN, 2, batch_first=True), "inductor", id="two layers", marks=compiler
    ),
    pytest.param(lambda: FastWeightsRNNCell(INPUT, HIDDEN), "inductor", id="cell", marks=compiler),
]


@pytest.fixture
def _simple_code():
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.simdlen": 1}):  # a third of the time of the C++ compiler
        yield


@pytest.mark.usefixtures("_simple_code")
@pytest.mark.parametrize("make, backend", CASES)
def test_segments_are_compiled_twice_at_most(make, backend):
    module = make().double()
    inputs = torch.randn(BATCH, 3 * SEGMENTS, INPUT, dtype=torch.float64)
    segments = inputs.split(3, dim=1) if isinstance(module, FastWeightsRNN) else inputs[:, :SEGMENTS].unbind(1)
    numbers, compiled = [], torch.compile(module, backend=backend, fullgraph=True)
    for network in (module, compiled):
        module.zero_grad()
        state, seen = None, []
        for place, segment in enumerate(segments):
            with torch._dynamo.config.patch(error_on_recompile=place > 1):
                result = network(segment, None if state is None else state.detach())
            output, state = result if isinstance(module, FastWeightsRNN) else (result.hidden, result)
            (output.square().mean() + 1e-3 * state.weights.mean()).backward()
            seen += [output.detach(), *state.detach()]
        numbers.append(seen + [parameter.grad.clone() for parameter in module.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(*numbers, strict=True))


@pytest.mark.parametrize("how", ["a pair", "tensors"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_sees_of_a_state_what_it_sees_of_that_of_an_lstm(how, reentrant):
    """torch looks for tensors among the arguments, and in no tuple, where a checkpoint is reentrant."""

    def reached(rnn):
        def call(segment, *state):
            output, state = rnn(segment, state or None)
            return output, *state

        inputs, state = torch.randn(2, 6, INPUT, requires_grad=True), None
        for segment in inputs.split(3, dim=1):
            if how == "a pair":
                output, state = checkpoint(rnn, segment, state, use_reentrant=reentrant)
            else:
                output, *state = checkpoint(call, segment, *(state or ()), use_reentrant=reentrant)
        output.square().sum().backward()
        return bool(inputs.grad[:, :3].abs().sum() > 0)

    ours = reached(FastWeightsRNN(INPUT, HIDDEN, batch_first=True))
    assert ours == reached(nn.LSTM(INPUT, HIDDEN, batch_first=True)) == (how == "tensors" or not reentrant)
