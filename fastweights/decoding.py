"""Answers of any model with `encode` and `step`: one loop for every memory, a symbol at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastweights.errors import UserError

LIMIT = 64  # symbols of an answer at most, where nobody says


class Decoded(NamedTuple):
    """Answers, and how probable the model finds them; `beam` has an axis of hypotheses after the batch, best first.

    symbols: [batch, steps]; after an end, ends. lengths: [batch], the symbols before it. scores: [batch], the
    log-probability of the symbols and of the end.
    """

    symbols: Tensor
    lengths: Tensor
    scores: Tensor


@torch.no_grad()
def greedy(model: Any, source: Tensor, lengths: Tensor | None = None, *, limit: int = LIMIT) -> Decoded:
    """The most probable symbol at each step, until every answer has ended or has `limit` symbols.

    model: an `EncoderDecoder`, a `Transducer`, or a module with their `encode`, `step`, `begin` and `end`. source:
    [batch, time], of which `lengths` steps count. Dropout is left out.
    """
    _check(source, limit=limit)
    with _at_rest(model):
        state = model.encode(source, lengths)
        symbols = source.new_full((len(source),), model.begin)
        ended = torch.zeros_like(symbols, dtype=torch.bool)
        scores: Any = 0.0
        said: list[Tensor] = []
        while len(said) < limit and not (said and ended.all()):
            answers, state = model.step(symbols, state)
            best, symbols = torch.log_softmax(answers, dim=-1).max(dim=-1)
            scores = scores + best.masked_fill(ended, 0.0)
            symbols = symbols.masked_fill(ended, model.end)
            ended = ended | (symbols == model.end)
            said.append(symbols)
    return _decoded(model, torch.stack(said, dim=1), scores)


@torch.no_grad()
def beam(model: Any, source: Tensor, lengths: Tensor | None = None, *, width: int = 4, limit: int = LIMIT) -> Decoded:
    """The `width` hypotheses that stay the most probable, step by step; those of width 1 are greedy's.

    The log-probabilities of a hypothesis are summed, and no length is preferred. The result has an axis of hypotheses
    after the batch, best first. The rest is as for `greedy`.
    """
    _check(source, limit=limit, width=width)
    batch = len(source)
    rows = torch.arange(batch, device=source.device)[:, None]
    with _at_rest(model):
        state = model.encode(source, lengths).select(rows.expand(batch, width).reshape(-1))
        symbols = source.new_full((batch, width), model.begin)
        ended = torch.zeros_like(symbols, dtype=torch.bool)
        scores: Any = None
        said = source.new_empty(batch, width, 0)
        while said.shape[2] < limit and not (said.shape[2] and ended.all()):
            answers, state = model.step(symbols.reshape(-1), state)
            steps = torch.log_softmax(answers, dim=-1).view(batch, width, -1)
            steps = steps.masked_fill(ended[..., None], float("-inf"))  # after an end comes nothing but ends
            steps[..., model.end] = steps[..., model.end].masked_fill(ended, 0.0)
            if scores is None:  # all hypotheses are the same one
                scores = torch.full_like(steps[..., 0], float("-inf"))
                scores[:, 0] = 0.0
            scores, places = (scores[..., None] + steps).flatten(1).topk(width, dim=1)
            parents, symbols = places // steps.shape[2], places % steps.shape[2]
            state = state.select((rows * width + parents).reshape(-1))
            ended = ended.gather(1, parents) | (symbols == model.end)
            said = torch.cat([said[rows, parents], symbols[..., None]], dim=2)
    return _decoded(model, said, scores)


@torch.no_grad()
def attended(model: Any, source: Tensor, symbols: Tensor, lengths: Tensor | None = None) -> Tensor | None:
    """[batch, steps, time]: what each symbol of an answer [batch, steps] attended to in the source; None where the
    model cannot say it exactly."""
    with _at_rest(model):
        first = symbols.new_full((len(symbols), 1), model.begin)
        return model.attended(source, torch.cat([first, symbols[:, :-1]], dim=1), lengths)


def _decoded(model: Any, symbols: Tensor, scores: Tensor) -> Decoded:
    return Decoded(symbols, (symbols != model.end).sum(dim=-1), scores)


def _check(source: Tensor, **counts: int) -> None:
    if source.dim() != 2 or not source.shape[0] or not source.shape[1]:
        raise UserError(f"source: got shape {list(source.shape)}, wanted [batch, time], each at least 1")
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise UserError(f"{name}: got {count!r}, wanted an integer >= 1")


@contextmanager
def _at_rest(model: Any) -> Iterator[None]:
    """Without dropout meanwhile."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
