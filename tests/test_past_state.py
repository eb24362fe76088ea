"""A state in factored form, the hidden vectors so far: what follows is what follows on the matrix that they wrote."""

from dataclasses import dataclass

import pytest
import torch
from op_calls import assert_close, draw
from torch.nn.utils.rnn import pack_padded_sequence

from fastweights import FastWeightsRNN
from fastweights.errors import UnsupportedBackend, UserError
from fastweights.ops import PastState, fast_weights_rnn
from fastweights.ops.fast_weights_rnn import backend_of
from fastweights.rules import Cosine, Delta, Hebbian

KINDS = {"Hebbian": Hebbian, "Cosine": Cosine, "Delta": Delta}
LENGTHS = torch.tensor([5, 1, 3])


@dataclass(frozen=True)
class Mine:
    """No backend but the reference has it."""

    decay: float
    rate: float

    def write(self, weights, key, value):
        return self.decay * weights + self.rate * torch.tanh(value[..., None] * key[..., None, :])

    def read(self, weights, query):
        return (weights @ query[..., None])[..., 0]


def run(leaves, rule, inputs, state, **options):
    tensors = (leaves[name] for name in ("recurrent", "gain", "bias"))
    return fast_weights_rnn(inputs, *tensors, state, rule=rule, **options)


def gradients(outputs, leaves):
    weigh = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1), dtype=outputs.dtype)
    wanted = [leaf for name, leaf in leaves.items() if name != "weights"]
    return [outputs.detach(), *torch.autograd.grad((outputs * weigh).sum(), wanted)]


@pytest.mark.parametrize("inner_steps", [0, 2])
@pytest.mark.parametrize("kind", [*KINDS, "Mine"])
def test_what_follows_on_the_past_is_one_run(kind, inner_steps):
    leaves = draw(3, 9, 5)
    constants = {"decay": leaves["decay"], "rate": leaves["rate"]}
    rule = KINDS[kind](**constants) if kind in KINDS else Mine(**constants)
    whole, _ = run(leaves, rule, leaves["inputs"], None, inner_steps=inner_steps, backend="reference")
    first, state = run(
        leaves, rule, leaves["inputs"][:, :4], PastState(leaves["inputs"][:, :0]), inner_steps=inner_steps
    )
    second, state = run(leaves, rule, leaves["inputs"][:, 4:], state, inner_steps=inner_steps)
    got = torch.cat([first, second], 1)
    assert_close([state.past.detach(), state.hidden.detach()], [whole.detach(), whole[:, -1].detach()])
    if inner_steps == 0:  # nothing is read: no gradient of the constants
        leaves = {name: leaf for name, leaf in leaves.items() if name not in ("decay", "rate")}
    assert_close(gradients(got, leaves), gradients(whole, leaves))


@pytest.mark.parametrize("backend", ["reference", "attention"])
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_several_lengths_go_on_without_a_gap(kind, backend):
    leaves, rule = draw(3, 8, 5), KINDS[kind](decay=0.9, rate=0.4)
    leaves = {name: leaf for name, leaf in leaves.items() if name not in ("decay", "rate")}
    inputs = leaves["inputs"]
    _, state = run(leaves, rule, inputs[:, :5], PastState(inputs[:, :0]), lengths=LENGTHS)
    got, state = run(leaves, rule, inputs[:, 5:], state, lengths=torch.tensor([3, 2, 0]), backend=backend)
    assert state.past.shape == (3, 8, 5) and not state.past[1, :5].any()
    for row, (length, more) in enumerate(zip(LENGTHS.tolist(), [3, 2, 0], strict=True)):
        alone = torch.cat([inputs[row, :length], inputs[row, 5 : 5 + more]])[None]
        want, _ = run(leaves, rule, alone, None, backend="reference")
        followed = torch.cat([got[row, :more], state.hidden[row : row + 1]])
        assert_close([followed.detach()], [torch.cat([want[0, length:], want[0, -1:]]).detach()])


def test_the_attention_backend_takes_it_and_the_kernels_say_why_not():
    leaves = draw(3, 2, 5)
    state = PastState(leaves["inputs"])
    assert backend_of(leaves["inputs"], leaves["recurrent"], leaves["gain"], leaves["bias"], state) == "attention"
    with pytest.raises(UnsupportedBackend, match="it begins with a matrix, not with a PastState"):
        run(leaves, Hebbian(), leaves["inputs"], state, backend="cpu")


@pytest.mark.parametrize("past", [torch.zeros(3, 4), torch.zeros(2, 2, 5), torch.zeros(3, 2, 4)])
def test_a_past_that_does_not_fit_is_refused(past):
    leaves = draw(3, 2, 5)
    with pytest.raises(ValueError, match=r"state.past: got shape .* wanted \[3, .*, 5\]"):
        run(leaves, Hebbian(), leaves["inputs"], PastState(past.double()))
    with pytest.raises(UserError, match="state: got past"):
        FastWeightsRNN(5, 5, batch_first=True).double()(leaves["inputs"], PastState(past.double()[None]))


@pytest.mark.parametrize("need_grad", [True, False])
def test_a_network_hands_it_from_layer_to_layer(need_grad):
    torch.manual_seed(0)
    rnn, inputs = (
        FastWeightsRNN(4, 5, num_layers=2, batch_first=True).double(),
        torch.randn(3, 6, 4, dtype=torch.float64),
    )
    with torch.set_grad_enabled(need_grad):
        want, dense = rnn(inputs)
        state, got = PastState(torch.zeros(2, 3, 0, 5, dtype=torch.float64)), []
        for step in (inputs[:, :3], inputs[:, 3:4], inputs[:, 4:]):
            output, state = rnn(step, state)
            got.append(output)
    assert_close([torch.cat(got, 1).detach(), state.hidden.detach()], [want.detach(), dense.hidden.detach()])
    index = torch.tensor([2, 2, 0, 1])
    after, chosen = rnn(inputs[index], state.select(index))
    assert_close([after.detach()], [rnn(inputs[index], dense.select(index))[0].detach()])
    assert chosen.past.shape == (2, 4, 12, 5)
    alone, _ = rnn(inputs[0], PastState(state.past[:, 0]))
    assert_close([alone.detach()], [rnn(inputs[:1], dense.select([0]))[0][0].detach()])


def test_a_packed_sequence_ends_where_it_ends():
    torch.manual_seed(0)
    rnn, inputs = FastWeightsRNN(4, 5, batch_first=True).double(), torch.randn(3, 5, 4, dtype=torch.float64)
    packed = pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False)
    _, state = rnn(packed, PastState(torch.zeros(1, 3, 0, 5, dtype=torch.float64)))
    _, dense = rnn(packed)
    assert_close([rnn(inputs, state)[0].detach()], [rnn(inputs, dense)[0].detach()])
