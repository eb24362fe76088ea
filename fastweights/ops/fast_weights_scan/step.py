"""The canonical step of a whole call: what is masked in it, and how the state of a rule lies in its one matrix."""

import torch
from torch import Tensor

from fastweights.rules import ScanState, Step


def masked(step: Step, valid: Tensor) -> Step:
    """The step that leaves the state as it is where `valid`, [batch, time], is false."""
    many = valid.repeat_interleave(step.substeps, 1)[..., None, None]
    key = torch.where(many, step.key, 0.0)
    erase = key if step.erase is step.key else step.erase
    decay = step.decay
    if decay is not None:
        decay = torch.where(valid.reshape(*valid.shape, *[1] * (decay.dim() - 2)), decay, 0.0)
    return step._replace(key=key, erase=erase, decay=decay)


def one_by_one(step: Step) -> Step:
    """Each substep as a token: the first of a token decays, the last is read."""
    query, many = step.query.unsqueeze(2), step.substeps
    before = query.new_zeros(*query.shape[:2], many - 1, *query.shape[3:])
    decay = None if step.decay is None else first_of(step.decay, many)
    return step._replace(query=torch.cat([before, query], 2).flatten(1, 2), decay=decay, substeps=1)


def first_of(each: Tensor, many: int) -> Tensor:
    """[batch, many * time, ...]: what each token has for the first of its substeps, and zeros for the others."""
    rest = each.new_zeros(*each.shape[:2], many - 1, *each.shape[2:])
    return torch.cat([each.unsqueeze(2), rest], 2).flatten(1, 2)


def pack(state: ScanState, step: Step) -> Tensor:
    """The canonical matrix of a state, [batch, heads, rows, key]."""
    if step.momentum is not None:
        return torch.cat([state.weights, *state.others], -1)
    if state.others:
        rows = [each.unsqueeze(-2) if each.dim() == 3 else each for each in state.others]
        return torch.cat([state.weights, *rows], -2)
    return state.weights.mT if step.transposed else state.weights


def unpack(matrix: Tensor, like: ScanState, step: Step) -> ScanState:
    """The state that lies in a canonical matrix; `like` has its shapes."""
    if step.transposed:
        return ScanState(matrix.mT)
    if step.momentum is not None:
        weights, moving = matrix.chunk(2, -1)
        return ScanState(weights, (moving,))
    if not like.others:
        return ScanState(matrix)
    sizes = [like.weights.shape[-2], *(1 if each.dim() == 3 else each.shape[-2] for each in like.others)]
    weights, *others = matrix.split(sizes, -2)
    return ScanState(
        weights, tuple(each.reshape(shaped.shape) for each, shaped in zip(others, like.others, strict=True))
    )
