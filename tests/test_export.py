"""A program that torch.export wrote equals the module, at other lengths and batches than those it was traced with."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.errors import UserError
from fastweights.nn import SequenceModel
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn.exported import sequence
from fastweights.rules import Delta
from fastweights.tasks import Spec

INPUT, HIDDEN = 5, 8
TIME, BATCH = Dim("time"), Dim("batch")
SIZES = [(3, 6), (1, 1), (2, 128), (4, 129), (2, 200)]  # the first is traced; beyond 128 steps there are chunks
OPTIONS = {
    "several": {"num_layers": 2, "bidirectional": True, "learned": ("decay", "rate")},
    "batch first": {"batch_first": True, "layer_norm": False, "nonlinearity": "tanh", "inner_steps": 2},
}
STRICT = [(name, False) for name in OPTIONS] + [("several", True)]


def make(options, dtype=torch.float64):
    return FastWeightsRNN(INPUT, HIDDEN, **options, dtype=dtype).eval()


def draw(rnn, batch, time, given=True):
    """An input, and a state where one is given."""
    dtype, places = rnn.weight_ih_l0.dtype, rnn.num_layers * rnn.num_directions
    inputs = torch.randn((batch, time, INPUT) if rnn.batch_first else (time, batch, INPUT), dtype=dtype)
    if not given:
        return (inputs,)
    hidden = torch.randn(places, batch, HIDDEN, dtype=dtype)
    return inputs, (hidden, 0.1 * torch.randn(places, batch, HIDDEN, HIDDEN, dtype=dtype))


def axes(rnn, given=True):
    """Which axes of an input, and of a state where one is given, are of any size."""
    inputs = {0: BATCH, 1: TIME} if rnn.batch_first else {0: TIME, 1: BATCH}
    return (inputs, ({1: BATCH}, {1: BATCH})) if given else (inputs,)


def flat(result):
    output, state = result
    return [output, *(state or ())]


def close(got, want, tolerance=1e-10):
    assert len(got) == len(want)
    assert all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("name, strict", STRICT)
def test_a_sequence_of_any_length(name, strict):
    rnn = make(OPTIONS[name])
    program = export(rnn, draw(rnn, *SIZES[0]), dynamic_shapes=axes(rnn), strict=strict).module()
    for size in SIZES:
        given = draw(rnn, *size)
        close(flat(program(*given)), flat(rnn(*given)))


@pytest.mark.parametrize("given", [False, True])
def test_without_a_state(given):
    rnn = make({"bidirectional": True})

    class Outputs(nn.Module):
        def forward(self, *arguments):
            return rnn(*arguments, need_state=given)

    outputs = Outputs()
    outputs.rnn = rnn
    shapes = (axes(rnn, given=False),)
    program = export(outputs, draw(rnn, *SIZES[0], given=False), dynamic_shapes=shapes).module()
    for size in SIZES:
        inputs = draw(rnn, *size, given=False)
        close(flat(program(*inputs)), flat(outputs(*inputs)))


@pytest.mark.parametrize("options, time", [({}, 1), ({}, 7), ({}, 150), ({"rule": Delta()}, 7)])
def test_a_fixed_length(options, time):
    rnn = make(options)
    program = export(rnn, draw(rnn, 3, time), strict=False).module()
    given = draw(rnn, 3, time)
    close(flat(program(*given)), flat(rnn(*given)))


@pytest.mark.parametrize("module", [FastWeightsRNN, FastWeightsRNNCell])
@pytest.mark.parametrize("grad", [False, True])
def test_a_step_needs_nothing_but_torch(module, grad):
    step = module(INPUT, HIDDEN, rule=Delta(), learned=("rate",)).eval()
    lead = () if module is FastWeightsRNNCell else (1,)

    def given(batch):
        hidden = torch.randn(*lead, batch, HIDDEN)
        return torch.randn(*lead, batch, INPUT), FastWeightsState(hidden, torch.randn(*hidden.shape, HIDDEN))

    any_batch = {len(lead): BATCH}
    with torch.set_grad_enabled(grad):
        program = export(step, given(3), dynamic_shapes=(any_batch, FastWeightsState(any_batch, any_batch)))
    assert not [node for node in program.graph.nodes if "fastweights" in str(node.target)]
    for batch in (1, 3, 40):
        arguments = given(batch)
        got, want = program.module()(*arguments), step(*arguments)
        assert type(got) is FastWeightsState if module is FastWeightsRNNCell else type(got[1]) is FastWeightsState
        close(*(list(each) if module is FastWeightsRNNCell else flat(each) for each in (got, want)), 1e-5)


def test_another_rule_has_a_fixed_length():
    rnn = make({"rule": Delta()})
    with pytest.raises(UserError, match="dynamic length with the rule Delta, wanted a fixed length"):
        export(rnn, draw(rnn, 3, 6), dynamic_shapes=axes(rnn), strict=False)


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients(compiled):
    rnn = make({"num_layers": 2, "learned": ("decay", "rate")})
    program = export(rnn, draw(rnn, *SIZES[0]), dynamic_shapes=axes(rnn)).module()
    given = draw(rnn, 4, 129)

    def gradients(network, parameters):
        leaves = [each.clone().requires_grad_() for each in (given[0], *given[1])]
        loss = sum(part.square().sum() for part in flat(network(leaves[0], tuple(leaves[1:]))))
        return torch.autograd.grad(loss, [*leaves, *(parameters[name] for name, _ in rnn.named_parameters())])

    want = gradients(rnn, dict(rnn.named_parameters()))
    ran = torch.compile(program, backend="aot_eager", fullgraph=True) if compiled else program
    got = gradients(ran, dict(program.named_parameters()))
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-8) for a, b in zip(got, want, strict=True))


def test_sequences_of_several_lengths():
    class Op(nn.Module):
        def forward(self, inputs, recurrent, lengths):
            return fast_weights_rnn(inputs, recurrent, lengths=lengths, nonlinearity="tanh")

    def given(*lengths):
        return torch.randn(len(lengths), max(lengths), HIDDEN), torch.eye(HIDDEN), torch.tensor(lengths)

    shapes = ({0: BATCH, 1: TIME}, None, {0: BATCH})
    program = export(Op(), given(6, 0, 3), dynamic_shapes=shapes).module()
    arguments = given(150, 0, 129, 7)
    close(flat(program(*arguments)), flat(Op()(*arguments)), 1e-5)


@pytest.mark.parametrize("every", [False, True])
def test_a_model_that_reads_symbols(every):
    rnn = FastWeightsRNN(INPUT, HIDDEN, batch_first=True)
    model = SequenceModel(rnn, Spec(INPUT, 3, every=every), HIDDEN).eval()
    draw_symbols = [torch.randint(INPUT, size) for size in SIZES]
    program = export(model, (draw_symbols[0],), dynamic_shapes=({0: BATCH, 1: TIME},)).module()
    for symbols in draw_symbols:
        close([program(symbols)], [model(symbols)], 1e-5)


def test_the_program_goes_into_a_file(tmp_path):
    rnn, path = make({"batch_first": True}), tmp_path / "rnn.pt2"
    torch.export.save(export(rnn, draw(rnn, *SIZES[0]), dynamic_shapes=axes(rnn)), path)
    given = draw(rnn, 2, 150)
    torch.save((given, flat(rnn(*given))), tmp_path / "given.pt")
    script = (
        "import sys, torch, fastweights.nn\n"
        "program, (given, want) = torch.export.load(sys.argv[1]).module(), torch.load(sys.argv[2])\n"
        "output, state = program(*given)\n"
        "assert all(torch.allclose(a, b) for a, b in zip((output, *state), want, strict=True))"
    )
    subprocess.run([sys.executable, "-c", script, path, tmp_path / "given.pt"], check=True)


@pytest.mark.parametrize("need_state", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
def test_the_operator_keeps_the_rules_of_torch_library(need_state, cosine):
    hidden, weights = torch.randn(3, HIDDEN), torch.randn(3, HIDDEN, HIDDEN)
    tensors = torch.randn(3, 4, HIDDEN), torch.eye(HIDDEN), torch.ones(HIDDEN), torch.zeros(HIDDEN), hidden, weights
    constants = torch.tensor([0.9]), torch.tensor(0.5)
    arguments = [each.double().requires_grad_() for each in (*tensors, *constants)]
    torch.library.opcheck(
        sequence,
        (*arguments, torch.tensor([4, 2, 0]), 1, "relu", need_state, cosine),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
