"""Gradients that the kernels cannot give: the chunks of torch run the call again, as operations of autograd."""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_scan import chunkwise
from fastweights.ops.fast_weights_scan.call import inside
from fastweights.rules import Step


def of_scan(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
    """What the backward passes of `cpu` and `triton` return."""
    query, key, value, erase, strength, decay, state, lengths, resets, *_ = ctx.saved_tensors
    tied, undecayed, transposed, _ = ctx.settings
    with torch.enable_grad():
        # each argument by a name of its own: what one of them was computed from is differentiated elsewhere
        tensors = (query, key, value, erase, strength, decay, state)
        apart: list[Any] = [None if each is None else each.view_as(each) for each in tensors]
        query, key, value, erase, strength, decay, state = apart
        erase = key if tied else erase
        step = Step(query, key, value, erase, strength, decay, undecayed_erase=undecayed, transposed=transposed)
        look, last = chunkwise.scan(step, state, resets, None, chunkwise.CHUNK)
        outputs = look(step.query)
        if lengths is not None:
            outputs = torch.where(inside(lengths, query.shape[1])[..., None, None], outputs, 0.0)
    needs = ctx.needs_input_grad
    wanted = [each for each, needed in zip(apart, needs, strict=False) if needed]
    pairs = [(result, each) for result, each in zip((outputs, last), d, strict=False) if each is not None]
    if not pairs:
        return (None,) * len(needs)
    results, gradients = zip(*pairs, strict=True)
    graph = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(results, wanted, gradients, create_graph=graph, allow_unused=True))
    return tuple(next(found) if needed else None for needed in needs)
