"""What the docstrings of rules claim: what each is the minimum, the mirror or a special case of."""

import pytest
import torch
from scan_calls import assert_close, draw, run

from fastweights import FastWeightsRNN, rules
from fastweights.ops import ScanState, fast_weights_scan
from fastweights.rules import Comba, Delta, DeltaProduct, GatedDelta, GatedDelta2, Hebbian, KimiDelta, LinearAttention

LITERAL = Delta(normalize_key=False)


def ran(rule, leaves, **gates):
    inputs = [leaves[name].detach() for name in ("queries", "keys", "values")]
    outputs, state = fast_weights_scan(*inputs, gates, rule=rule, backend="reference")
    return [outputs, state.weights]


def drawn(rule):
    leaves = {name: leaf.detach() for name, leaf in draw(rule, time=12, key=4, value=3).items()}
    return leaves, {name: leaves[name] for name in rule.GATES}


def test_linear_attention_without_its_denominator_is_a_sum():
    leaves, _ = drawn(LinearAttention())
    plain = ran(LinearAttention(normalize=False), leaves)
    assert_close(plain, ran(Hebbian(decay=1.0, rate=1.0), leaves))
    kernel = torch.einsum("bthk,bshk->bhts", leaves["queries"], leaves["keys"]).tril()
    weights = kernel / kernel.sum(-1, keepdim=True)
    assert_close(ran(LinearAttention(), leaves)[:1], [torch.einsum("bhts,bshv->bthv", weights, leaves["values"])], 1e-6)


def test_heads_of_retention_keep_for_longer_and_longer():
    leaves, _ = drawn(rules.Retention())
    outputs, _ = ran(rules.Retention(), leaves)
    for head, decay in ((0, 1 - 1 / 32), (1, 1 - 1 / 64)):
        one = {name: leaf[:, :, head : head + 1] for name, leaf in leaves.items()}
        assert_close([outputs[:, :, head : head + 1]], ran(Hebbian(decay=decay, rate=1.0), one)[:1])


def test_gates_that_are_equal_make_simpler_rules():
    leaves, gates = drawn(KimiDelta())
    same = gates["strength"][..., None].clamp(max=1.0)
    gates["strength"] = same[..., 0]
    two = {"erase": same.expand_as(leaves["keys"]), "write": same.expand_as(leaves["values"])}
    kimi = ran(KimiDelta(), leaves, **gates)
    assert_close(ran(GatedDelta2(), leaves, log_decay=gates["log_decay"], **two), kimi)
    scalar = gates["log_decay"][..., 0]
    as_key = scalar[..., None].expand_as(leaves["keys"])
    gated = ran(GatedDelta(), leaves, log_decay=scalar, strength=gates["strength"])
    assert_close(ran(KimiDelta(), leaves, log_decay=as_key, strength=gates["strength"]), gated)
    ones, zeros = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    none = {"log_decay": 0.0 * scalar, "strength": gates["strength"]}
    delta = ran(LITERAL, leaves, strength=gates["strength"])
    assert_close(ran(Comba(), leaves, feedback=ones, correction=zeros, **none), delta)
    whole = {"log_decay": 0.0 * as_key, "removal": leaves["keys"], "strength": torch.ones_like(leaves["keys"])}
    assert_close(ran(rules.RWKV7(), leaves, **whole), ran(LITERAL, leaves, strength=torch.ones_like(scalar)))
    still = ran(rules.Titans(), leaves, momentum=0.0 * scalar, **none)
    assert_close(still, delta)


def test_oja_is_the_mirror_of_kimi_delta():
    leaves, gates = drawn(rules.Oja())
    weights = ran(rules.Oja(), leaves, **gates)[1]
    mirror = {"keys": leaves["values"], "values": leaves["keys"], "queries": leaves["values"]}
    assert_close([weights.mT], ran(KimiDelta(), mirror, **gates)[1:])


def test_a_value_that_is_written_twice_keeps_its_last_key():
    leaves, _ = drawn(rules.Oja())
    rule, (first, last), value = rules.Oja(rate=1.0), leaves["keys"][0, :2, 0], leaves["values"][0, 0, 0]
    twice = rule.write(rule.write(torch.zeros(3, 4, dtype=torch.float64), first, value), last, 5.0 * value)
    assert_close([twice.mT @ value], [last])


def test_longhorn_minimises_change_and_error():
    leaves, _ = drawn(rules.Longhorn())
    before = torch.randn(3, 4, dtype=torch.float64)
    key, value = 3.0 * leaves["keys"][0, 0, 0], leaves["values"][0, 0, 0]
    after = rules.Longhorn(rate=5.0).write(before, key, value).requires_grad_()
    loss = (after - before).square().sum() + 5.0 * (after @ key - value).square().sum()
    assert torch.autograd.grad(loss, after)[0].abs().max() < 1e-12


def test_mesa_reads_by_the_best_linear_map():
    leaves, gates = drawn(rules.Mesa())
    outputs, _ = ran(rules.Mesa(), leaves, **gates)
    left = gates["log_decay"].flip(1).cumsum(1).flip(1) - gates["log_decay"]  # of token j, after the last
    counts = (gates["strength"] * left.exp())[0, :, 0]
    keys, values, ridge = leaves["keys"][0, :, 0], leaves["values"][0, :, 0], gates["ridge"][0]

    def loss(linear):
        return (counts * (keys @ linear.T - values).square().sum(-1)).sum() + (ridge * linear.square()).sum()

    nothing = torch.zeros(3, 4, dtype=torch.float64)
    slope, curve = torch.autograd.functional.jacobian(loss, nothing), torch.autograd.functional.hessian(loss, nothing)
    best = -torch.linalg.solve(curve.reshape(12, 12), slope.reshape(12)).reshape(3, 4)
    assert_close([outputs[0, -1, 0]], [best @ leaves["queries"][0, -1, 0]])


def test_titans_goes_down_the_gradient_with_momentum():
    leaves, gates = drawn(rules.Titans())
    _, end = ran(rules.Titans(), leaves, **gates)
    memory = moving = torch.zeros(3, 4, dtype=torch.float64)
    for t in range(12):
        at = memory.clone().requires_grad_()
        loss = (at @ leaves["keys"][0, t, 0] - leaves["values"][0, t, 0]).square().sum()
        (slope,) = torch.autograd.grad(loss, at)
        strength, momentum, log_decay = (gates[name][0, t, 0] for name in ("strength", "momentum", "log_decay"))
        moving = momentum * moving - strength / 2 * slope
        memory = log_decay.exp() * memory + moving
    assert_close([end[0, 0]], [memory])


def test_ttt_goes_down_the_gradient_of_a_mini_batch():
    """Against autograd, over two mini-batches of three tokens and one more."""
    rule = rules.TTTLinear(mini_batch=3)
    leaves = {name: leaf.detach() for name, leaf in draw(rule, time=7, key=4).items()}
    gates = {name: leaves[name] for name in rule.GATES}
    outputs, state = ran(rule, leaves, **gates)
    query, key, value, strength = (leaves[name][0, :, 0] for name in ("queries", "keys", "values", "strength"))
    gain, shift, matrix, bias = (
        gates["gain"][0],
        gates["shift"][0],
        gates["start"][0],
        torch.zeros(4, dtype=torch.float64),
    )
    for first in (0, 3, 6):
        sums = [torch.zeros_like(matrix), torch.zeros_like(bias)]
        for t in range(first, min(first + 3, 7)):
            at = [each.clone().requires_grad_() for each in (matrix, bias)]
            guess = torch.nn.functional.layer_norm(at[0] @ key[t] + at[1], (4,), gain, shift, 1e-6)
            slopes = torch.autograd.grad((guess - (value[t] - key[t])).square().sum() / 2, at)
            sums = [each + strength[t] / 4 * slope for each, slope in zip(sums, slopes, strict=True)]
            now = [each - moved / (t - first + 1) for each, moved in zip((matrix, bias), sums, strict=True)]
            read = torch.nn.functional.layer_norm(now[0] @ query[t] + now[1], (4,), gain, shift, 1e-6)
            assert_close([outputs[0, t, 0]], [query[t] + read])
        if first < 6:  # the last has one token
            matrix, bias = now
    assert_close([gates["start"][0] + state[0, 0]], [matrix])


def test_two_reflections_turn_three_values_round():
    """What one delta rule a token cannot do: a permutation of three."""
    unit = torch.eye(3, dtype=torch.float64)
    keys = torch.stack([unit[0] - unit[1], unit[1] - unit[2]]) / 2**0.5
    shape = (1, 2, 1, 3)
    state = ScanState(unit[None, None])
    zero = torch.zeros(shape, dtype=torch.float64)
    _, state = fast_weights_scan(
        zero[:, :1], keys.reshape(shape), zero, {"strength": torch.full((1, 2, 1), 2.0, dtype=torch.float64)},
        rule=DeltaProduct(2), state=state,
    )  # fmt: skip
    assert_close([state.weights[0, 0]], [unit[[2, 0, 1]]])


def test_a_step_of_titans_does_not_change_the_state_it_was_given():
    leaves = draw(rules.Titans(), time=3, initial=True)
    before = leaves["state0"].clone(), leaves["state1"].clone()
    run(leaves, rules.Titans(), "auto")
    assert torch.equal(leaves["state0"], before[0]) and torch.equal(leaves["state1"], before[1])


@pytest.mark.parametrize("name", [name for name in rules.registered() if name in rules.scanned()])
def test_a_rule_of_both_ops_writes_the_same(name):
    """Where key = value = hidden, the recurrent network's memory is that of the scan over its hidden vectors."""
    rule = rules.registered()[name]()
    rnn = FastWeightsRNN(3, 5, batch_first=True, rule=rule, learned=()).double()
    with torch.no_grad():
        outputs, (_, weights) = rnn(torch.randn(2, 6, 3, dtype=torch.float64))
        hidden = outputs.unsqueeze(2)
        _, state = fast_weights_scan(hidden, hidden, hidden, rule=rule)
    assert_close([state.weights[:, 0]], [weights[0]])
