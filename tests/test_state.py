"""The state is a plain pair of tensors, as that of nn.LSTM."""

import copy
import io
import pickle

import pytest
import torch
from states import BACKENDS, BATCH, HIDDEN, INPUT, same, state
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils import _pytree as pytree
from torch.utils.data import default_collate

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.errors import UserError
from fastweights.ops import fast_weights_rnn


def test_it_is_a_tuple_of_two_tensors():
    output, (hidden, weights) = FastWeightsRNN(INPUT, HIDDEN)(torch.randn(6, BATCH, INPUT))
    assert type(hidden) is type(weights) is torch.Tensor and torch.equal(output[-1], hidden[0])
    assert weights.shape == (1, BATCH, HIDDEN, HIDDEN)
    hidden, weights = FastWeightsRNNCell(INPUT, HIDDEN)(torch.randn(BATCH, INPUT))
    assert hidden.shape == (BATCH, HIDDEN) and weights.shape == (BATCH, HIDDEN, HIDDEN)


@pytest.mark.parametrize("how", ["tuple", "list", "state"])
def test_any_pair_goes_in(how):
    rnn, inputs, given = FastWeightsRNN(INPUT, HIDDEN), torch.randn(2, BATCH, INPUT), state(1)
    want = rnn(inputs, given)[0]
    assert torch.equal(rnn(inputs, {"tuple": tuple, "list": list, "state": lambda s: s}[how](given))[0], want)
    assert torch.equal(rnn(inputs, hx=given)[0], want)


def test_trees_copies_and_files():
    given = state()
    assert same(pytree.tree_map(lambda tensor: tensor.clone(), {"state": given})["state"], given)
    for copied in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
        assert type(copied) is FastWeightsState and same(copied, given)
    file = io.BytesIO()
    torch.save({"state": given}, file)
    file.seek(0)
    assert same(torch.load(file, weights_only=True)["state"], given)
    assert default_collate([given, given])[1].shape == (2, BATCH, HIDDEN, HIDDEN)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_what_people_do_to_it(leading):
    given = state(*leading, grad=True)
    cut = given.detach()
    assert not cut.hidden.requires_grad and not cut.weights.requires_grad and same(cut, given)
    assert all(each.dtype == torch.float64 for each in given.to(torch.float64))
    fresh = given.reset(torch.tensor([True, False, True]))
    for each, before in zip(fresh, given, strict=True):
        axis = len(leading)
        assert not each.select(axis, 0).any() and not each.select(axis, 2).any()
        assert torch.equal(each.select(axis, 1), before.select(axis, 1))
    order = torch.tensor([2, 2, 0])
    for index in (order, torch.tensor([True, False, True]), slice(1, 3)):
        chosen = given.select(index)
        assert torch.equal(chosen.hidden, given.hidden[..., index, :])
        assert torch.equal(chosen.weights, given.weights[..., index, :, :])
    for bad in (torch.tensor([True, False]), torch.tensor([1, 0, 1]), [True, False, True]):
        with pytest.raises(ValueError, match=r"FastWeightsState.reset: got .*, wanted torch.bool of shape \[3\]"):
            given.reset(bad)


def test_an_idiom_that_is_made_for_one_tensor_fails_loudly():
    given, keep = state(1), torch.ones(1, BATCH, 1)
    for idiom in (
        lambda: given * keep, lambda: given.mul_(keep), lambda: given.clone(), lambda: torch.zeros_like(given),
        lambda: given + 1, lambda: nn.Linear(HIDDEN, 2)(given), lambda: given.shape, lambda: torch.stack([given, given]),
    ):  # fmt: skip
        with pytest.raises((TypeError, AttributeError)):
            idiom()
    with pytest.raises(ValueError, match=r"got a tensor, wanted a pair \(hidden, weights\), as nn.LSTM has one"):
        FastWeightsRNN(INPUT, HIDDEN)(torch.zeros(2, BATCH, INPUT), given.hidden)


def test_hooks_see_the_tensors_of_the_state():
    for module, inputs in (
        (FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(BATCH, INPUT)),
        (FastWeightsRNN(INPUT, HIDDEN), torch.randn(2, BATCH, INPUT)),
    ):
        seen = []
        module.register_full_backward_hook(lambda *given, seen=seen: seen.append(given))
        sum(part.sum() for part in module(inputs.requires_grad_()) if isinstance(part, torch.Tensor)).backward()
        assert len(seen) == 1


def test_a_look_at_it_in_inference_mode_breaks_nothing():
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN), torch.randn(2, BATCH, INPUT)
    _, carried = rnn(inputs)
    with torch.inference_mode():
        assert carried.weights.norm() > 0
    rnn(inputs, carried)[0].sum().backward()


def test_shapes_can_be_had_without_memory():
    _, made = FastWeightsRNN(3, 4, device="meta")(torch.zeros(5, 2, 3, device="meta"))
    assert made.weights.shape == (1, 2, 4, 4)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_trees_keep_its_type(leading):
    given = state(*leading)
    mapped = pytree.tree_map(lambda tensor: tensor + 1, [given])[0]
    assert type(mapped) is FastWeightsState and same(mapped, given.map(lambda tensor: tensor + 1))
    leaves, spec = pytree.tree_flatten(given)
    assert len(leaves) == 2 and type(pytree.tree_unflatten(leaves, spec)) is FastWeightsState
    collated = default_collate([given, given])
    assert type(collated) is FastWeightsState and same(collated, [torch.stack([each, each]) for each in given])


@pytest.mark.parametrize("leading", [(), (2,)])
def test_a_reset_and_a_choice_of_samples_hand_their_gradients_on(leading):
    given, keep = state(*leading, grad=True), torch.tensor([0.0, 1.0, 0.0])
    for made, factor in ((given.reset(keep == 0), keep), (given.select(torch.tensor([1, 1])), 2 * keep)):
        got = torch.autograd.grad(made.hidden.sum() + made.weights.sum(), given)
        assert torch.equal(got[0], factor[:, None].expand_as(given.hidden))
        assert torch.equal(got[1], factor[:, None, None].expand_as(given.weights))


@pytest.mark.parametrize("leading", [(), (2,)])
@pytest.mark.parametrize("bad", [torch.tensor([3]), torch.tensor([0.5])])
def test_a_choice_that_does_not_go_with_the_batch_is_an_error(bad, leading):
    with pytest.raises(IndexError):
        state(*leading).select(bad)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_a_mask_is_one_of_samples(leading):
    given = state(*leading)
    for mask in (torch.tensor([True, False]), torch.ones(2, BATCH, dtype=torch.bool), [True], True):
        with pytest.raises(UserError, match=r"select: got a mask of shape \[.*\], wanted \[3\]"):
            given.select(mask)
    assert given.select([True, False, True]).hidden.shape == (*leading, 2, HIDDEN)
    with pytest.raises(UserError, match="select: got a state without a batch axis"):
        FastWeightsState(torch.zeros(HIDDEN), torch.zeros(HIDDEN, HIDDEN)).select(0)


@pytest.mark.parametrize("network", [FastWeightsRNN, FastWeightsRNNCell])
def test_a_state_that_was_made_of_something_else_is_refused(network):
    shape = (1, BATCH, INPUT) if network is FastWeightsRNN else (BATCH, INPUT)
    with pytest.raises(UserError, match="state: got FastWeightsState of 2, wanted a pair of tensors"):
        network(INPUT, HIDDEN)(torch.randn(shape), FastWeightsState(torch.zeros(BATCH, HIDDEN), 3))


def test_a_state_of_other_layers_is_refused_beside_a_packed_sequence():
    packed = pack_sequence([torch.randn(5, INPUT), torch.randn(2, INPUT), torch.randn(1, INPUT)])
    for leading in (0, 2):
        with pytest.raises(UserError, match=rf"got hidden \[{leading}, 3, 4\], wanted \[1, 3, 4\]"):
            FastWeightsRNN(INPUT, HIDDEN)(packed, state(leading))


def test_a_sample_begins_anew_as_it_did_at_first():
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN, 2, dtype=torch.float64), torch.randn(4, BATCH, INPUT).double()
    carried, fresh = rnn(inputs)[1], rnn(inputs)[0]
    again = rnn(inputs, carried.reset(torch.tensor([True, False, True])))[0]
    assert torch.allclose(again[:, [0, 2]], fresh[:, [0, 2]], atol=1e-12) and not torch.allclose(
        again[:, 1], fresh[:, 1]
    )
    order = torch.tensor([2, 0])
    kept = rnn(inputs[:, order], carried.select(order))[0]
    assert torch.allclose(kept, rnn(inputs, carried)[0][:, order], atol=1e-12)


def test_a_state_without_a_batch_axis_has_no_samples_to_reset():
    stepped = FastWeightsRNNCell(INPUT, HIDDEN)(torch.randn(INPUT))
    for done in (torch.tensor(True), torch.tensor([True])):
        with pytest.raises(ValueError, match="FastWeightsState.reset: got a state without a batch axis"):
            stepped.reset(done)


def test_what_its_idioms_make_of_a_pair_is_refused_where_it_goes_in():
    rnn, inputs, given = FastWeightsRNN(INPUT, HIDDEN), torch.zeros(2, BATCH, INPUT), state(1)
    for made in (given * 2, given * 0, given + given, given * torch.tensor([0]), given[:1], [given], (given, given)):
        with pytest.raises(ValueError, match=r"FastWeightsRNN, state: got .*, wanted a pair of tensors"):
            rnn(inputs, made)
    for idiom in (
        lambda: torch.ones(1, BATCH, 1) * given, lambda: torch.cat([given, given], dim=1), lambda: given[:, 0],
        lambda: torch.cat([given[-2], given[-1]], dim=1), lambda: given.detach_(), lambda: given.index_select(1, None),
        lambda: torch.where(torch.ones(BATCH, 1) > 0, given, given), lambda: setattr(given, "hidden", given.hidden),
    ):  # fmt: skip
        with pytest.raises((TypeError, AttributeError, RuntimeError)):
            idiom()
    cell = FastWeightsRNNCell(INPUT, HIDDEN)
    with pytest.raises(ValueError, match=r"FastWeightsRNNCell, state: got a tensor, wanted a pair \(hidden, weights\)"):
        cell(inputs[0], given.hidden[0])
    hidden = state().hidden
    empty = hidden.new_zeros(*hidden.shape, hidden.shape[-1])  # as the message says
    assert cell(inputs[0], (hidden, empty)).hidden.shape == hidden.shape


@pytest.mark.parametrize("strict", [True, False])
def test_a_step_of_the_cell_is_exported(strict):
    cell, x, given = FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(BATCH, INPUT), state()
    exported = torch.export.export(cell, (x, given), strict=strict).module()
    want, got, moved = cell(x, given), exported(x, given), exported(x, given.map(lambda each: 2 * each))
    assert type(got) is FastWeightsState and all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(got, want, strict=True)
    )
    assert not torch.allclose(moved.weights, got.weights)


def test_an_exported_step_goes_into_a_file():
    cell, x, given, file = FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(BATCH, INPUT), state(), io.BytesIO()
    torch.export.save(torch.export.export(cell, (x, given)), file)
    file.seek(0)
    got = torch.export.load(file).module()(x, given)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, cell(x, given), strict=True))


def test_a_hook_leaves_the_state_a_state_and_sees_its_gradients():
    cell, x = FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(BATCH, INPUT)
    want, seen = cell(x), []
    cell.register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs))
    got = cell(x.clone().requires_grad_())
    assert type(got) is FastWeightsState and same(got, want)
    (2 * got.hidden.sum() + 3 * got.weights.sum()).backward()
    (gradients,) = seen
    assert torch.equal(gradients[0], torch.full_like(want[0], 2)) and torch.equal(
        gradients[1], torch.full_like(want[1], 3)
    )


@pytest.mark.parametrize("graph", [True, False])
def test_vmap_over_a_batch_of_states(graph):
    cell, inputs = FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(2, BATCH, INPUT)
    many = state(2)
    with torch.set_grad_enabled(graph):
        got = torch.vmap(cell)(inputs, many)
        alone = [cell(x, pair) for x, pair in zip(inputs, zip(*many, strict=True), strict=True)]
    assert type(got) is FastWeightsState
    for each, parts in zip(got, zip(*alone, strict=True), strict=True):
        assert torch.allclose(each, torch.stack(parts), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("initial", [False, True])
def test_a_sequence_ends_with_the_state_at_its_length(backend, initial):
    torch.manual_seed(0)
    inputs, recurrent = torch.randn(BATCH, 6, HIDDEN).double(), 0.1 * torch.randn(HIDDEN, HIDDEN).double()
    ones, given = torch.ones(HIDDEN).double(), state().to(torch.float64) if initial else None
    norm, lengths = (recurrent, ones, 0 * ones), torch.tensor([6, 0, 2])
    _, final = fast_weights_rnn(inputs, *norm, given, lengths=lengths, backend=backend)
    for place, length in enumerate(lengths.tolist()):
        own = None if given is None else given.select(slice(place, place + 1))
        alone = fast_weights_rnn(inputs[place : place + 1, :length], *norm, own, backend=backend)[1]
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(final.select([place]), alone, strict=True))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("time", [1, 4])
def test_an_unbatched_sequence_is_one_of_a_batch(time, graph, batch_first):
    rnn = FastWeightsRNN(INPUT, HIDDEN, batch_first=batch_first, dtype=torch.float64)
    inputs, given = torch.randn(time, INPUT, dtype=torch.float64), state(1).to(torch.float64)
    with torch.set_grad_enabled(graph):
        got, final = rnn(inputs, given.map(lambda each: each[:, 0]))
        batched, last = rnn(inputs[None] if batch_first else inputs[:, None], given.select(slice(0, 1)))
    assert got.shape == (time, HIDDEN) and final.hidden.shape == (1, HIDDEN)
    assert final.weights.shape == (1, HIDDEN, HIDDEN)
    assert torch.allclose(got, batched[0] if batch_first else batched[:, 0], atol=1e-12)
    assert all(torch.allclose(a, b[:, 0], atol=1e-12) for a, b in zip(final, last, strict=True))
