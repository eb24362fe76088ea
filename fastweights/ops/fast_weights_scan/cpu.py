"""Chunk by chunk in compiled kernels, forward and backward (`cpu_kernels.py`, `cpu_backward.py`), on CPU.

Compiled by Numba at the first call of a dtype and kept on disk. Time and memory are linear in the number of tokens.
"""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_scan import chunkwise, cpu_passes, second_order
from fastweights.ops.fast_weights_scan.call import Call
from fastweights.ops.fast_weights_scan.cpu_passes import CHUNK, Given, Kept
from fastweights.ops.fast_weights_scan.step import first_of, one_by_one, pack, unpack
from fastweights.rules import ScanState


def why_not(call: Call) -> str | None:
    if torch.compiler.is_compiling():
        return "torch.compile cannot look into it"
    others = (*call.gates.values(), call.state.weights, *call.state.others, call.resets, call.lengths)
    reason = limits.why_not(call.keys, call.queries, call.values, *others)
    if reason is not None:
        return reason
    if call.step is None:
        return f"{type(call.rule).__name__} has no fast form; the reference backend runs it"
    if call.step.transposed:
        return f"it reads memories as they lie, and {type(call.rule).__name__} reads the transposed one"
    if call.step.reading is not None:
        return f"it reads a token once, and {type(call.rule).__name__} reads it again and again"
    if call.step.momentum is not None:
        return f"it has no momentum, and {type(call.rule).__name__} has"
    return None


def run(call: Call) -> tuple[Tensor, ScanState]:
    step = call.step
    assert step is not None
    if 0 in step.query.shape[:2]:
        return chunkwise.run(call)
    state, chunk, many = pack(call.state, step), call.chunk or CHUNK, step.substeps
    resets, lengths = call.resets, call.lengths
    if many > 1:
        step, chunk = one_by_one(step), max(1, chunk // many) * many if call.chunk is None else chunk * many
        resets = None if resets is None else first_of(resets, many)
        lengths = None if lengths is None else lengths * many
    tied = step.erase is step.key
    erase = None if tied else step.erase
    arguments = (step.query, step.key, step.value, erase, step.strength, step.decay, state, lengths, resets)
    settings = (tied, step.undecayed_erase, chunk)
    if torch.is_grad_enabled():
        outputs, last = Scan.apply(*arguments, *settings)  # pyright: ignore[reportGeneralTypeIssues]
    elif step.query.shape[1] == 1 and resets is None and lengths is None:
        outputs, last = cpu_passes.token(given_of(arguments, tied), step.undecayed_erase)
    else:
        outputs, last = cpu_passes.forward(given_of(arguments, tied), *settings[1:], None)
    outputs = outputs if many == 1 else outputs[:, many - 1 :: many]
    if step.finish is not None:
        outputs = step.finish(outputs)
        outputs = outputs if call.valid is None else torch.where(call.valid[..., None, None], outputs, 0.0)
    return outputs, unpack(last, call.state, step)


def given_of(tensors: Any, tied: bool) -> Given:
    query, key, value, erase, *rest = tensors
    return Given(query, key, value, key if tied else erase, *rest)


class Scan(torch.autograd.Function):
    """query, key, value, erase, strength, decay, state, lengths, resets; whether the key is erased, whether by the
    memory before it fades, and the tokens of a chunk."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        *tensors, tied, undecayed, chunk = arguments
        given = given_of(tensors, tied)
        if not any(ctx.needs_input_grad):
            return cpu_passes.forward(given, undecayed, chunk, None)
        kept = cpu_passes.kept_of(given, chunk)
        outputs, last = cpu_passes.forward(given, undecayed, chunk, kept)
        ctx.save_for_backward(*tensors, *kept)
        ctx.settings = tied, undecayed, False, chunk
        ctx.set_materialize_grads(False)
        return outputs, last

    @staticmethod
    @limits.first_order(second_order.of_scan)
    def backward(ctx: Any, *d: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if all(each is None for each in d):
            return (None,) * 12
        *tensors, written, memories = ctx.saved_tensors
        tied, undecayed, _, chunk = ctx.settings
        given = given_of(tensors, tied)
        gradients = cpu_passes.backward(d[0], d[1], given, undecayed, chunk, Kept(written, memories))
        needed = zip(gradients, ctx.needs_input_grad[:7], strict=True)
        return *(gradient if need else None for gradient, need in needed), *(None,) * 5
