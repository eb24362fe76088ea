"""Memories between an encoder and a decoder: what is written at once is what is written state by state."""

import pytest
import torch
from op_calls import assert_close
from torch import nn

from fastweights.errors import UserError
from fastweights.nn import memories
from fastweights.nn.memories import DeltaMemory, MemoryState, attended, delta_rule, make_memory

BATCH, TIME, STATES, QUERIES, STEPS = 3, 9, 6, 5, 4
LENGTHS = torch.tensor([9, 1, 5])
KINDS = memories.registered()
every_memory = pytest.mark.parametrize("name", KINDS)


def made(name, **sizes):
    torch.manual_seed(0)
    small = {"value_size": 7} if name == "last-state" else {"key_size": 4, "value_size": 7}
    if name == "slots":
        small["slots"] = 3
    return KINDS[name](STATES, QUERIES, **(small | sizes)).double()


def drawn(time=TIME):
    g = torch.Generator().manual_seed(1)
    states = torch.randn(BATCH, time, STATES, generator=g, dtype=torch.float64)
    return states.requires_grad_(), torch.randn(
        BATCH, STEPS, QUERIES, generator=g, dtype=torch.float64
    ).requires_grad_()


def one_by_one(memory, states, lengths):
    """The recurrence, which is the truth."""
    state = memory.write(states[:, :0])
    for t in range(states.shape[1]):
        state = memory.append(state, *memory.project(states[:, t], None if lengths is None else t < lengths))
    return state


def with_gradients(memory, state, states, queries):
    read = memory.read(state, queries)
    weigh = torch.randn(read.shape, generator=torch.Generator().manual_seed(2), dtype=read.dtype)
    leaves = [states, queries, *memory.parameters()]
    found = torch.autograd.grad((read * weigh).sum(), leaves, allow_unused=True)
    return [read.detach(), *(torch.zeros(1) if each is None else each for each in found)]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "ragged"])
@every_memory
def test_at_once_is_one_after_the_other(name, lengths):
    memory, (states, queries) = made(name), drawn()
    whole, steps = memory.write(states, lengths), one_by_one(memory, states, lengths)
    assert_close(
        [each.detach().double() for each in whole if not each.is_leaf],
        [each.detach().double() for each in steps if not each.is_leaf],
    )
    got, want = (with_gradients(memory, state, states, queries) for state in (whole, steps))
    assert_close(got, want)


@pytest.mark.parametrize("name", ["delta", "gated-delta"])
def test_a_source_longer_than_a_chunk_is_written_as_one(name, monkeypatch):
    monkeypatch.setattr(delta_rule, "CHUNK", 4)
    memory, (states, queries) = made(name), drawn(11)
    got, want = (
        with_gradients(memory, state, states, queries)
        for state in (memory.write(states, LENGTHS), one_by_one(memory, states, LENGTHS))
    )
    assert_close(got, want)


def test_the_delta_rule_is_that_of_the_rules():
    from fastweights.rules import Delta

    memory, (states, _) = made("delta"), drawn()
    key, value, strength = (each.detach() for each in memory.project(states))
    weights = torch.zeros(BATCH, 7, 4, dtype=torch.float64)
    for t in range(TIME):
        for row in range(BATCH):  # the rate of the rule is one number
            rule = Delta(decay=1.0, rate=float(strength[row, t]))
            weights[row] = rule.write(weights[row], key[row, t], value[row, t]).detach()
    assert_close([memory.write(states)[0].detach()], [weights])


@every_memory
def test_padding_never_enters(name):
    memory, (states, queries) = made(name), drawn()
    padded = memory.read(memory.write(states, LENGTHS), queries)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = memory.read(memory.write(states[row : row + 1, :length]), queries[row : row + 1])
        assert_close([padded[row : row + 1].detach()], [alone.detach()])
    other = torch.where(torch.arange(TIME)[:, None] < LENGTHS[:, None, None], states, 1e3)
    assert torch.equal(memory.read(memory.write(other, LENGTHS), queries), padded)


@every_memory
def test_an_empty_memory_can_be_read_and_a_state_selected(name):
    memory, (states, queries) = made(name), drawn()
    empty = memory.read(memory.write(states[:, :0]), queries)
    assert empty.shape == (BATCH, STEPS, 7) and empty.isfinite().all()
    index = torch.tensor([2, 0, 2, 1])
    state = memory.write(states, LENGTHS)
    chosen = state.select(index)
    assert type(chosen) is MemoryState
    assert_close([memory.read(chosen, queries[index]).detach()], [memory.read(state, queries).detach()[index]])
    assert chosen.bytes * BATCH == state.bytes * len(index)


@every_memory
def test_what_was_attended_to_adds_up_to_what_was_read(name):
    memory, (states, queries) = made(name), drawn()
    weights = attended(memory, states, queries, LENGTHS)
    if name == "last-state":
        assert weights is None
        return
    assert weights.shape == (BATCH, STEPS, TIME)
    assert not weights[1, :, 1:].any()
    assert_close(
        [(weights @ memory.value(states)).detach()], [memory.recall(memory.write(states, LENGTHS), queries).detach()]
    )


def test_the_state_of_fast_weights_does_not_grow_with_the_source():
    sizes = {name: [made(name).write(drawn(time)[0]).bytes for time in (5, 50)] for name in KINDS}
    grow = {name for name, (short, long) in sizes.items() if long > short}
    assert grow == {"attention", "additive-attention"}


class Mine(nn.Module):
    """Somebody's own: the mean of the states."""

    def __init__(self, states_size, queries_size):
        super().__init__()
        self.value_size = states_size

    def write(self, states, lengths=None):
        return MemoryState([states.mean(dim=1)])

    def append(self, state, key, value):
        raise NotImplementedError

    def read(self, state, queries):
        return state[0][:, None].expand(-1, queries.shape[1], -1)


def test_a_memory_is_named_or_handed_in():
    assert type(make_memory("delta", 6, 5)) is DeltaMemory
    assert type(make_memory(f"{__name__}:Mine", 6, 5)).__name__ == "Mine"
    assert type(make_memory(Mine, 6, 5)) is Mine
    assert make_memory(lambda states, queries: DeltaMemory(states, queries, key_size=3), 6, 5).key.out_features == 3
    mine = DeltaMemory(6, 5)
    assert make_memory(mine, 6, 5) is mine


@pytest.mark.parametrize(
    "memory, said",
    [
        ("dleta", "unknown memory 'dleta'; did you mean delta? (memories: additive-attention, delta"),
        (3, "memory: got 3, wanted a name, a class, or a module"),
        (DeltaMemory(6, 4), "got DeltaMemory for states of 6 and queries of 4 units, wanted one for 6 and 5"),
        (nn.Linear, "memory: got Linear without write, read, append, value_size, wanted an nn.Module with"),
        ("nowhere:Mine", "memory 'nowhere:Mine': got ModuleNotFoundError"),
        (f"{__name__}:BATCH", "memory: got 'int' object is not callable; wanted what is called as Class(states_size"),
        (
            nn.ReLU,
            "memory: got ReLU.__init__() takes from 1 to 2 positional arguments but 3 were given; wanted what is",
        ),
    ],
)
def test_what_is_no_memory_is_refused(memory, said):
    with pytest.raises(UserError) as error:
        make_memory(memory, 6, 5)
    assert said in str(error.value)
