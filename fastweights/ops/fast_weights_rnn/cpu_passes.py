"""The passes over tensors: each sizes the memory of the kernels of `cpu_kernels.py` and shares out their work."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastweights.ops.cpu.buffers import LANES, NOWHERE, address, in_rows, packed, scratch
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.threads import share_out, worth
from fastweights.ops.fast_weights_rnn.kinds import DELTA, HEBBIAN, kind_of

_MODULE = "fast_weights_rnn.cpu_kernels"


class Memory(NamedTuple):
    """A rule as the kernels take it."""

    decay: float
    rate: float
    kind: int  # of `kinds.py`

    @property
    def constants(self) -> tuple[float, float]:
        return self.decay, self.rate


def memory_of(rule: Any) -> Memory | None:
    """None of a rule that the kernels do not have."""
    kind = kind_of(rule)
    return None if kind is None else Memory(float(rule.decay), float(rule.rate), kind)


_GROUPS = 16  # sums over samples are taken in so many parts, whatever the number of threads


def forward(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor | None,
    weights: Tensor | None,
    memory: Memory,
    lengths: Tensor | None,
    inner_steps: int,
    relu: bool,
    saved: Tensor | None,
    symbols: Tensor | None = None,
) -> Tensor:
    """The outputs; into `saved`, of `saved_size`, goes what the backward pass needs.

    symbols: [batch, time] integers, contiguous; `inputs` is then a table [number of symbols, hidden], and the outputs
    are those of the last step, [batch, hidden]. Raises IndexError where the table has no such symbol.
    """
    (batch, time), units = (inputs if symbols is None else symbols).shape[:2], inputs.shape[-1]
    lanes = LANES[inputs.dtype]
    tiles = -(-batch // lanes)
    outputs = inputs.new_empty((batch, time, units) if symbols is None else (batch, units))
    rows = in_rows(inputs) if symbols is None else inputs.contiguous()
    tensors = [t if t is None else t.contiguous() for t in (recurrent, gain, bias, hidden, weights, lengths)]
    addresses = (
        address(rows),
        address(symbols),
        *(address(t) for t in tensors),
        outputs.data_ptr(),
        address(saved),
    )
    kind = memory.kind if inner_steps else HEBBIAN
    sizes = (batch, time, units, inner_steps, int(relu), kind, int(saved is not None), len(rows))
    strides = rows.stride()[:2]
    n = apart(units) * lanes
    work = 3 * n + lanes + (0 if saved is not None else (time + 1) * n) + 2 * (time + 1) + 2 * units
    work += (kind != HEBBIAN) * ((3 + time) * n + lanes) + (kind == DELTA) * time * n
    threads = worth(tiles, batch * time * units * (units + time) * (1 + inner_steps))
    own = [scratch(f"forward {i}", work, inputs.dtype) for i in range(threads)]  # a large one is held by this alone

    def share(index: int, first: int, last: int) -> None:
        each = (*addresses, own[index].data_ptr())
        if not launch(_MODULE, "forward", inputs.dtype, (first, last), sizes, strides, memory.constants, each):
            assert symbols is not None
            raise IndexError(f"symbols: got {symbols.min()} to {symbols.max()}, wanted 0 to {len(rows) - 1}")

    share_out(share, tiles, threads)
    return outputs


def apart(units: int) -> int:
    """From one vector of a tile to the next, as the kernels have it."""
    return units | 1


def saved_size(shape: Sequence[int], dtype: torch.dtype, inner_steps: int, norm: bool, kind: int) -> int:
    """How many numbers the forward pass leaves for the backward pass; `cpu_kernels.py` has their order."""
    batch, time, units = shape
    lanes, norms = LANES[dtype], max(inner_steps, 1) if norm else 0
    vectors = 1 + inner_steps + norms
    if inner_steps:
        vectors += (0, 1 + inner_steps, 1)[kind]
    return (batch + lanes - 1) // lanes * lanes * time * (apart(units) * vectors + norms)


def saved_outputs(saved: Tensor, shape: Sequence[int]) -> Tensor:
    """The outputs [batch, time, units] out of what the forward pass left."""
    batch, time, units = shape
    lanes = LANES[saved.dtype]
    tiles = -(-batch // lanes)
    past = saved.view(tiles, -1)[:, : time * apart(units) * lanes].view(tiles, time, -1, lanes)[:, :, :units]
    return past.permute(0, 3, 1, 2).reshape(tiles * lanes, time, units)[:batch]


def backward(
    d_outputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor | None,
    weights: Tensor | None,
    lengths: Tensor | None,
    saved: Tensor,
    memory: Memory,
    inner_steps: int,
    relu: bool,
    needs: Sequence[bool],
    symbols: Tensor | None = None,
    entries: int = 0,
) -> list[Tensor | None]:
    """The gradients of inputs, recurrent, gain, bias, hidden, weights, decay and rate: None where not needed.

    With the symbols of the forward pass, d_outputs is that of the last step, [batch, hidden], and the gradient of the
    inputs is that of their table, of so many `entries`.
    """
    (batch, time), units = (d_outputs if symbols is None else symbols).shape[:2], d_outputs.shape[-1]
    lanes, dtype = LANES[d_outputs.dtype], d_outputs.dtype
    tiles = -(-batch // lanes)
    group_tiles = -(-tiles // _GROUPS)
    groups = -(-tiles // group_tiles)
    rows, kind = in_rows(d_outputs), memory.kind if inner_steps else HEBBIAN
    slots = 2 * time + (0, 1, 2)[kind]  # of the gradients of the constants
    threads = worth(groups, 2 * batch * time * units * (units + time) * (1 + inner_steps))
    alone = symbols is not None and threads == 1  # a tile's rows go to the table at once: one thread keeps their order
    if symbols is None:
        d_inputs, d_table = d_outputs.new_empty(batch, time, units), None
    else:
        kept_rows = time * units * (min(lanes, batch) if alone else batch)
        d_inputs, d_table = scratch("d_inputs", kept_rows, dtype), d_outputs.new_empty(entries, units)
    d_recurrent = torch.empty_like(recurrent, memory_format=torch.contiguous_format) if needs[1] else None
    d_norm = None if gain is None else gain.new_empty(2, units)
    d_hidden = d_outputs.new_empty(batch, units) if needs[4] else None
    sum_scale = scratch("d_scale", slots, torch.float64)
    asked = inner_steps + (kind == DELTA)  # of A(0), a step
    reads = d_outputs.new_empty(2, batch, time, asked, units) if needs[5] and inner_steps else None

    n, size, blocks = apart(units) * lanes, units * lanes, -(-units // lanes)
    # one sum of all has the order of a sum over groups where a tile's products are added at once
    one_sum = alone and group_tiles == 1 and units >= lanes
    groups_W = needs[1] * (1 if one_sum else groups)
    sums = [groups_W * blocks * size, groups * 2 * size * (gain is not None), groups * slots * lanes]
    partial, ends = scratch("sums", sum(sums), dtype), accumulate(sums)
    parts = [
        partial.data_ptr() + (end - size) * dtype.itemsize if size else 0 for size, end in zip(sums, ends, strict=True)
    ]
    tensors = [t if t is None else t.contiguous() for t in (recurrent, gain, hidden, weights, lengths)]
    addresses = (
        *(address(t) for t in tensors),
        address(symbols),
        saved.data_ptr(),
        address(rows),
        d_inputs.data_ptr(),
        address(d_table) if alone else 0,
        address(d_hidden),
        *parts,
        *([0, 0] if reads is None else [reads[0].data_ptr(), reads[1].data_ptr()]),
    )
    jump_W = 0 if groups_W == 1 else blocks * size
    sizes = (batch, time, units, inner_steps, int(relu), kind, group_tiles, jump_W, entries if alone else 0)
    strides = rows.stride()[:2] if symbols is None else (rows.stride(0), 0)
    work = (3 + time) * n + 2 * (time + 1) + units + time * n
    work += (kind != HEBBIAN) * ((2 + 2 * time) * n + (time + 1) * lanes) + (kind == DELTA) * 2 * time * n

    own = [scratch(f"backward {i}", work, dtype) for i in range(threads)]

    def share(index: int, first: int, last: int) -> None:
        each = (*addresses, own[index].data_ptr())
        launch(_MODULE, "backward", dtype, (first, last), sizes, strides, memory.constants, each)

    share_out(share, groups, threads)
    rest = (batch * time, entries) if symbols is not None and not alone else (0, 0)  # rows that wait for the table
    launch(
        _MODULE,
        "collect",
        dtype,
        (units, slots, groups, int(gain is not None), groups_W, *rest),
        (
            *(*parts, address(d_recurrent), address(d_norm), sum_scale.data_ptr()),
            *(d_inputs.data_ptr(), address(symbols), address(d_table)),
        ),
    )
    d_gain, d_bias = (None, None) if d_norm is None else d_norm.unbind()
    d_weights, d_decay, d_rate = None, None, None
    if needs[7] and kind != HEBBIAN:
        d_rate = sum_scale[2 * time].clone()
    if needs[5] or needs[6] or (needs[7] and kind == HEBBIAN):
        d_scale, (decay, rate, _) = sum_scale[: 2 * time].view(2, time), memory
        steps = torch.arange(time, dtype=torch.float64, device="cpu")
        powers = decay**steps
        slopes = steps * decay ** (steps - 1).clamp(min=0)  # of the powers
        if kind == HEBBIAN:
            d_rate = (powers * d_scale[0]).sum()
        d_decay = (rate if kind == HEBBIAN else 1.0) * (slopes * d_scale[0]).sum()
        if kind == DELTA:
            d_decay = d_decay + sum_scale[2 * time + 1]
        if weights is not None and inner_steps:
            d_decay = d_decay + (slopes * d_scale[1]).sum()
        if needs[5] and weights is not None:
            d_weights = torch.zeros_like(weights)
            if reads is not None:
                if kind == DELTA:
                    reads[:, :, -1, inner_steps] = 0  # the last step's write is read by nobody
                aged = reads[1] * powers.to(dtype)[:, None, None]
                d_weights = aged.flatten(1, 2).transpose(1, 2) @ reads[0].flatten(1, 2)
    return [d_inputs if d_table is None else d_table, d_recurrent, d_gain, d_bias, d_hidden, d_weights, d_decay, d_rate]


def step(
    x: Tensor,
    projection: Tensor | None,
    projection_bias: Tensor | None,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor | None,
    weights: Tensor | None,
    memory: Memory,
    inner_steps: int,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """h(t+1) [batch, hidden] and A(t+1) of a few samples from x(t+1), h(t) and A(t), without a graph.

    x: [batch, input_size] with its projection C [hidden, input_size]; [batch, hidden], projected already, without. At
    batch 1 the calls around a step cost more than its arithmetic: this is one call, with two fresh buffers.
    """
    batch, features = x.shape
    units = recurrent.shape[0]
    tensors = [
        t if t is None or t.is_contiguous() else packed(t)
        for t in (x, projection, projection_bias, recurrent, gain, bias, hidden, weights)
    ]
    new_hidden, new_weights = x.new_empty(batch, units), x.new_empty(batch, units, units)
    own = scratch("step", 3 * units, x.dtype)
    addresses = (
        *[0 if t is None else place if (place := t.data_ptr()) > NOWHERE else address(t) for t in tensors],
        new_hidden.data_ptr(),
        new_weights.data_ptr(),
        own.data_ptr(),
    )
    sizes = (batch, features, units, inner_steps, int(relu), memory.kind)
    launch("fast_weights_rnn.cpu_step_kernels", "step", x.dtype, sizes, memory.constants, addresses)
    return new_hidden, new_weights
