"""Random calls with random faults, on kernels and on the reference: both refuse a call, or both give the same numbers.

What kernels read, and the memory they work in, lies between NaN: a read past an end is seen in the numbers, a write in
the NaN.
"""

import math
import random

import pytest
import torch
from torch.utils._pytree import tree_leaves

from fastweights import FastWeightsRNN, FastWeightsRNNCell
from fastweights.nn import IRNN, LSTM, AssociativeLSTM
from fastweights.ops import fast_weights_rnn
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_rnn import cpu, cpu_passes, cpu_state
from fastweights.ops.fast_weights_rnn import symbols as fast_symbols
from fastweights.rules import Cosine, Delta, Hebbian

pytest.importorskip("numba")

CALLS = 60  # an entry
MARGIN = 64
SIZES = {"batch": [0, 1, 2, 8, 9, 17], "time": [0, 1, 2, 5], "hidden": [2, 6, 8, 18, 34], "features": [1, 3, 16]}


class Guard:
    """Memory with NaN on both sides."""

    def __init__(self):
        self.whole = []

    def lend(self, shape, dtype):
        return self.empty(math.prod(shape), dtype).view(shape)

    def empty(self, count, dtype):
        whole = torch.full((count + 2 * MARGIN,), float("nan"), dtype=dtype)
        self.whole.append(whole)
        return whole[MARGIN : MARGIN + count]

    def hold(self, tensor):
        if not tensor.is_floating_point():
            return tensor
        return self.empty(tensor.numel(), tensor.dtype).copy_(tensor.detach().flatten()).view(tensor.shape)

    def untouched(self):
        return all(whole[:MARGIN].isnan().all() and whole[-MARGIN:].isnan().all() for whole in self.whole)


class Subclass(torch.Tensor):
    pass


def spaced(tensor):
    wide = torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1]), 10**6).to(tensor)
    wide[..., ::2] = tensor
    return wide[..., ::2]


FAULTS = {
    "an axis more": lambda t, place: t.unsqueeze(place),
    "an axis less": lambda t, place: t.sum(place).to(t.dtype),
    "longer": lambda t, place: torch.cat([t, t.narrow(place, 0, min(1, t.shape[place]))], place),
    "shorter": lambda t, place: t.narrow(place, 0, max(t.shape[place] - 1, 0)),
    "of one": lambda t, place: t.narrow(place, 0, min(1, t.shape[place])),
    "empty": lambda t, place: t.narrow(place, 0, 0),
    "transposed": lambda t, place: t.transpose(0, -1),
    "expanded": lambda t, place: t.narrow(place, 0, min(1, t.shape[place])).expand(t.shape),
    "spaced": lambda t, place: spaced(t),
    "by columns": lambda t, place: t.transpose(0, -1).contiguous().transpose(0, -1),
    "negated": lambda t, place: torch._neg_view(-t),
    "half": lambda t, place: t.to(torch.float16),
    "double": lambda t, place: t.to(torch.float64),
    "integer": lambda t, place: t.to(torch.int32),
    "truth": lambda t, place: t.to(torch.bool),
    "complex": lambda t, place: t.to(torch.complex64),
    "meta": lambda t, place: t.to("meta"),
    "a subclass": lambda t, place: t.as_subclass(Subclass),
    "a parameter": lambda t, place: torch.nn.Parameter(t, requires_grad=False),
    "sparse": lambda t, place: t.to_sparse(),
    "large": lambda t, place: t + 2**40,
    "below": lambda t, place: t - 7,
    "missing": lambda t, place: None,
    "a list": lambda t, place: t.tolist(),
}

SETTINGS = {
    "inner_steps": [-1, 0, 2, True, 1.5, None],
    "nonlinearity": ["tanh", "x"],
    "rule": [None, Hebbian, Delta(), Cosine(), Hebbian()],
}


def some(draw, *shape):
    return torch.tensor([draw.gauss(0, 0.5) for _ in range(torch.Size(shape).numel())]).view(shape)


def sizes(draw):
    return [draw.choice(each) for each in SIZES.values()]


def options(draw):
    return {"inner_steps": draw.choice([0, 1, 2]), "nonlinearity": draw.choice(["relu", "tanh"])}


def op(draw):
    batch, time, hidden, _ = sizes(draw)
    tensors = {
        "inputs": some(draw, batch, time, hidden),
        "recurrent": some(draw, hidden, hidden) / 2,
        "gain": 1 + some(draw, hidden),
        "bias": some(draw, hidden),
        "hidden": some(draw, batch, hidden),
        "weights": some(draw, batch, hidden, hidden) / 4,
        "lengths": torch.tensor([draw.randint(0, time) for _ in range(batch)], dtype=torch.int64),
        "rate": torch.tensor([0.5]),
    }
    settings, first, ragged = options(draw), draw.random() < 0.5, draw.random() < 0.5
    kind = draw.choice([Hebbian, Cosine])

    def call(given, backend):
        state = (given["hidden"], given["weights"]) if first else None
        slow = [given[name] for name in ("inputs", "recurrent", "gain", "bias")]
        rule, lengths = kind(0.9, given["rate"]), given["lengths"] if ragged else None
        return fast_weights_rnn(*slow, state, rule=rule, lengths=lengths, backend=backend, **settings)

    return tensors, call


def of_module(draw, module, tensors, run):
    """The call of a module of ours, whose weights may be broken, too, and whose settings may change after it is made."""
    weights = {name: some(draw, *each.shape) + ("gain" in name) for name, each in module.named_parameters()}
    name = draw.choice([name for name in SETTINGS if hasattr(module, name)] or [""])
    if name and draw.random() < 0.15:
        setattr(module, name, draw.choice(SETTINGS[name]))

    def call(given, backend):
        module._parameters.update({name: given[name] for name in weights})
        module.backend = backend
        return run(module, given)

    return tensors | weights, call


def network(draw):
    batch, time, hidden, features = sizes(draw)
    module = FastWeightsRNN(features, hidden, batch_first=True, **options(draw))
    tensors = {
        "input": some(draw, batch, time, features),
        "hidden": some(draw, 1, batch, hidden),
        "weights": some(draw, 1, batch, hidden, hidden) / 4,
    }
    first = draw.random() < 0.5

    def run(module, given):
        return module(given["input"], (given["hidden"], given["weights"]) if first else None)

    return of_module(draw, module, tensors, run)


def cell(draw):
    batch, _, hidden, features = sizes(draw)
    module = FastWeightsRNNCell(features, hidden, **options(draw))
    tensors = {
        "input": some(draw, batch, features),
        "hidden": some(draw, batch, hidden),
        "weights": some(draw, batch, hidden, hidden) / 4,
    }
    first = draw.random() < 0.5

    def run(module, given):
        state = module(given["input"], (given["hidden"], given["weights"]) if first else None)
        return state, module(given["input"], state)

    return of_module(draw, module, tensors, run)


def symbols(draw):
    batch, time, hidden, features = sizes(draw)
    kind = draw.choice([FastWeightsRNN, AssociativeLSTM, IRNN, LSTM])
    ours = {"batch_first": True, **options(draw)} if kind is FastWeightsRNN else {}
    entries = draw.choice([1, 3, 20])
    tensors = {
        "symbols": torch.tensor([[draw.randrange(entries) for _ in range(time)] for _ in range(batch)]).long(),
        "features": some(draw, entries, features),
    }

    def run(module, given):
        return module.last_of_symbols(given["symbols"], given["features"])[0]

    module = kind(features, hidden, **ours)
    if kind in (IRNN, LSTM):  # whose weights torch reads without a look at their shape
        return tensors, lambda given, backend: run(module, given)
    return of_module(draw, module, tensors, run)


def outcome(call, given, backend, gradients):
    """Outputs, states and gradients, or the error."""
    given = {name: each.detach() if type(each) is torch.Tensor else each for name, each in given.items()}
    leaves = [each for each in given.values() if type(each) is torch.Tensor and each.dtype.is_floating_point]
    for leaf in leaves if gradients else ():
        leaf.requires_grad_()
    try:
        with torch.set_grad_enabled(gradients):
            found = tree_leaves(call(given, backend))
        slopes = [each for each in found if each.requires_grad]
        if slopes:
            weight = [torch.linspace(-1, 1, each.numel()).to(each).view(each.shape) for each in slopes]
            found += torch.autograd.grad(slopes, leaves, weight, allow_unused=True, materialize_grads=True)
        return found
    except Exception as error:
        return error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", [op, network, cell, symbols])
@pytest.mark.parametrize("seed", range(CALLS))
def test_a_broken_call_is_refused_or_has_the_numbers_of_the_reference(entry, seed, monkeypatch, as_users_have_it):
    draw, guard = random.Random(f"{entry.__name__} {seed}"), Guard()
    tensors, call = entry(draw)
    faults = {name: draw.choice(list(FAULTS)) for name in draw.sample(list(tensors), draw.choice([0, 1, 1, 1, 2]))}
    given = {name: guard.hold(each) for name, each in tensors.items()}
    for name, fault in faults.items():
        given[name] = FAULTS[fault](given[name], draw.randrange(given[name].dim()))
    gradients = draw.random() < 0.5
    with monkeypatch.context() as patch:
        patch.setattr(limits, "runs", lambda dtype: False)
        wanted = outcome(call, given, "reference", gradients)
    with monkeypatch.context() as patch:
        for module in (cpu_passes, cpu_state):
            patch.setattr(module, "scratch", lambda name, count, dtype: guard.empty(count, dtype))
        for module in (cpu, fast_symbols):
            patch.setattr(module, "lend", guard.lend)
        got = outcome(call, given, "auto", gradients)
    assert guard.untouched(), faults
    if isinstance(wanted, Exception) or isinstance(got, Exception):
        ways_out = ("wanted a dense one, or backend='reference'", "cannot be called on meta tensors")
        refused = isinstance(wanted, Exception) or any(each in str(got) for each in ways_out)
        assert isinstance(got, Exception) and refused, (faults, got, wanted)
        return
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype, faults
        if not one.is_meta:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 if one.itemsize > 2 else 0.1, msg=str(faults))
