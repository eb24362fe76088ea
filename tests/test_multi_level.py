"""The multi-level model equals its equations, line by line with the explicit matrix, whatever the control."""

import pytest
import torch
from torch.nn import functional

from fastweights.errors import UserError
from fastweights.nn import FastWeightsRNN, MultiLevelRNN, PatchConvNet
from fastweights.ops.fast_weights_rnn import UnsupportedBackend
from fastweights.rules import Cosine, Delta, Hebbian
from fastweights.rules.control import FIGURE_3, Step, parse_control, steps_of

SCHEDULES = [
    FIGURE_3,
    "read+write",
    "slow*3 write slow write+wipe read slow*2 read+integrate+write",
    "integrate read+wipe slow write",
    "slow*2",
]
RULES = [Hebbian(decay=0.9, rate=0.5), Cosine(decay=0.8), Delta()]


def reference(rnn, x, state=None, first=0):
    """One step after the other. x: [batch, time, input]; the outputs, the state, and h, A and the cue of each read."""
    W, V, C = rnn.weight_hh_l0, rnn.weight_integrate, rnn.weight_ih_l0
    hidden = x.new_zeros(len(x), rnn.hidden_size) if state is None else state[0][0]
    A = x.new_zeros(len(x), rnn.hidden_size, rnn.hidden_size) if state is None else state[1][0]
    outputs = []

    def norm(each, gain, bias):
        return each + bias if gain is None else functional.layer_norm(each, each.shape[-1:], gain, bias, 1e-5)

    for t, step in enumerate(steps_of(rnn.control, x.shape[1], first)):
        into = x[:, t] @ C.T
        boundary = into + hidden @ (V if step.integrate else W).T
        if step.read:
            read = rnn.rule.read(A, torch.relu(into if step.integrate else boundary))
            boundary = boundary + (rnn.rule.bound(read, boundary) if hasattr(rnn.rule, "bound") else read)
        if step.read or step.integrate:
            hidden = torch.relu(norm(boundary, rnn.gain_read, rnn.bias_read))
        else:
            hidden = torch.relu(norm(boundary, rnn.gain_slow, rnn.bias_slow))
        outputs.append(hidden)
        if step.write:
            A = rnn.rule.write(A, key=hidden, value=hidden)
        if step.wipe:
            hidden = torch.zeros_like(hidden)
    return torch.stack(outputs, 1), (hidden[None], A[None])


def made(control=FIGURE_3, rule=RULES[0], **options):
    torch.manual_seed(3)
    rnn = MultiLevelRNN(5, 7, control=control, rule=rule, **options).double()
    for parameter in rnn.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return rnn


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("control", SCHEDULES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_outputs_state_and_gradients_are_those_of_the_equations(rule, control, given):
    rnn = made(control, rule, norm_slow=not given)
    x = torch.randn(3, 13, 5, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(1, 3, 7, *more, dtype=torch.float64, requires_grad=True) for more in ((), (7,)))
    wanted, got = (run(x, state if given else None, first=2) for run in (lambda *a, **k: reference(rnn, *a, **k), rnn))
    parts = [[output, *end] for output, end in (wanted, got)]
    for one, other in zip(*parts, strict=True):
        close(one, other)
    learned = [*rnn.parameters(), x, *(state if given else ())]
    weights = [torch.randn_like(each) for each in parts[0]]
    slopes = [
        torch.autograd.grad(sum((w * p).sum() for w, p in zip(weights, each, strict=True)), learned, allow_unused=True)
        for each in parts
    ]
    for name, one, other in zip(
        [n for n, _ in rnn.named_parameters()] + ["x", "hidden", "weights"], *slopes, strict=False
    ):
        if one is None or other is None:
            assert all(each is None or not each.any() for each in (one, other)), name
        else:
            close(one, other)


def test_a_sequence_in_pieces_is_the_whole():
    rnn, x = made(), torch.randn(2, 24, 5, dtype=torch.float64)
    whole, end = rnn(x)
    state, pieces = None, []
    for first in range(0, 24, 5):
        output, state = rnn(x[:, first : first + 5], state, first=first)
        pieces.append(output)
    close(torch.cat(pieces, 1), whole)
    for one, other in zip(state, end, strict=True):
        close(one, other)
    close(rnn(x[0])[0], whole[0])
    assert rnn(x, need_state=False)[1] is None


def test_read_and_write_at_every_step_is_the_fast_weights_rnn():
    theirs = FastWeightsRNN(5, 7, rule=Hebbian(decay=0.9, rate=0.5), batch_first=True).double()
    rnn = made("read+write")
    shared = {
        "weight_ih_l0": "weight_ih_l0",
        "weight_hh_l0": "weight_hh_l0",
        "gain_l0": "gain_read",
        "bias_l0": "bias_read",
    }
    with torch.no_grad():
        for name, ours in shared.items():
            theirs.get_parameter(name).copy_(rnn.get_parameter(ours))
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    close(rnn(x)[0], theirs(x)[0])
    close(rnn.attention(x), theirs.attention(x))


@pytest.mark.parametrize("rule", RULES[:2], ids=lambda rule: type(rule).__name__)
def test_a_read_is_what_its_attention_says(rule):
    """The coarse glimpses that were written, and nothing else, with the weights that make up the read."""
    rnn, x = made(rule=rule), torch.randn(2, 24, 5, dtype=torch.float64)
    shown, outputs = rnn.attention(x), rnn(x)[0]
    reads, writes = [5, 11, 17, 23], [0, 6, 12, 18]
    there = torch.zeros(24, 24, dtype=torch.bool)
    for read in reads:
        there[read, [write for write in writes if write < read]] = True
    assert torch.equal((shown != 0).any(0), there)
    for t in reads:
        stored = outputs if type(rule) is Hebbian else outputs - outputs.mean(-1, keepdim=True)
        stored = stored if type(rule) is Hebbian else stored * (stored.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
        read = (shown[:, t, :, None] * stored).sum(1)
        into = x[:, t] @ rnn.weight_ih_l0.T
        boundary = into + outputs[:, t - 1] @ rnn.weight_integrate.T + read
        norm = functional.layer_norm(boundary, (7,), rnn.gain_read, rnn.bias_read, 1e-5)
        close(torch.relu(norm), outputs[:, t])
    with pytest.raises(UnsupportedBackend, match="no attention over hidden vectors of the rule Delta"):
        made(rule=Delta()).attention(x)


def test_controls_are_words():
    assert parse_control(FIGURE_3) == (
        Step(write=True, wipe=True), *[Step()] * 4, Step(read=True, integrate=True)
    )  # fmt: skip
    assert [step.read for step in steps_of(FIGURE_3, 8, first=4)] == [False, True, *[False] * 5, True]


@pytest.mark.parametrize("control, says", [
    ("", "got no step, wanted words such as 'write\\+wipe slow\\*4 read\\+integrate'"),
    ("write+wip", "got 'wip'; did you mean wipe\\?; wanted words such as"),
    ("slow+read", "got 'slow'.*; wanted words"),
    ("read+read", "got 'read\\+read', wanted each word of a step once"),
    ("slow*0", "got 'slow\\*0'.*; wanted words"),
    ("slow*999999999", "got more than 100,000 steps, wanted fewer"),
])  # fmt: skip
def test_what_is_no_control(control, says):
    with pytest.raises(UserError, match=says):
        MultiLevelRNN(2, 3, control=control)


def test_a_patch_conv_net_joins_the_glimpses_of_a_quadrant_and_then_the_quadrants():
    net, x = PatchConvNet(5, 3), torch.randn(2, 24, 5)
    output, state = net(x)
    assert output.shape == (2, 24, 3) and state is None and output[:, 0].equal(output[:, 23])
    features = torch.relu(x @ net.weight_ih_l0.T)
    quadrants = torch.relu(net.joining[0](features.view(2, 4, 18)))
    torch.testing.assert_close(output[:, 0], torch.relu(net.joining[1](quadrants.view(2, 12))))
    torch.testing.assert_close(net(x[0])[0], output[0])
    assert net(x[:, :20])[0].shape == (2, 20, 3)  # zeros in place of the missing neighbours
    with pytest.raises(UserError, match=r"got joins=\(\), wanted integers >= 1"):
        PatchConvNet(5, 3, joins=())
    with pytest.raises(UserError, match="got a state, wanted none"):
        net(x, torch.zeros(1, 2, 3))
