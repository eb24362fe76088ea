"""The associative LSTM over whole sequences on a CPU: the products with the weights by torch, the rest by kernels."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fastweights.ops.cpu.buffers import LANES, flat, whole
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.limits import first_order

_MODULE = "associative_lstm.cpu_kernels"


class Recurrence(torch.autograd.Function):
    """The outputs, [batch, time, hidden], and the memory after the last step."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: Float[Tensor, "batch time input"],
        hidden: Float[Tensor, "batch hidden"],
        memory: Float[Tensor, "batch copy hidden"],
        weight_input: Float[Tensor, "row input"],
        weight_recurrent: Float[Tensor, "row hidden"],
        bias: Float[Tensor, " row"],
        permutations: Int[Tensor, "copy unit"],
    ) -> Any:
        (batch, time, features), size, dtype = steps.shape, hidden.shape[1], bias.dtype
        low, high = torch.aminmax(permutations)  # kernels do not look where they read and write
        if int(low) < 0 or int(high) >= size // 2:
            raise IndexError(
                f"permutations: got numbers from {int(low)} to {int(high)}, wanted 0 to {size // 2 - 1}; "
                "call reset_parameters, or load them"
            )
        width, end, count = whole(batch, dtype), size + features, len(bias)
        # hidden, input, 1: a step's pre-activations are one product. The zeros that follow make it a faster one.
        weight = bias.new_zeros(count, whole(end + 1, dtype))
        weight[:, :size], weight[:, size:end], weight[:, end] = weight_recurrent, weight_input, bias
        columns = bias.new_zeros(time + 1, weight.shape[1], width)
        columns[0, :size, :batch] = hidden.t()
        columns[:-1, size:end, :batch] = steps.permute(1, 2, 0)
        columns[:, end] = 1.0
        memories = bias.new_empty(time + 1, *memory.shape[1:], width)
        memories[0, ..., batch:] = 0.0
        memories[0, ..., :batch] = memory.permute(1, 2, 0)
        rows, tile = bias.new_empty(time, count, width), bias.new_empty(1, 2 * count * LANES[dtype])
        each_rows, each_memory, each_column, scratch = (flat(t) for t in (rows, memories, columns, tile))
        for t in range(time):
            torch.mm(weight, columns[t], out=rows[t])
            arguments = each_rows[t], each_memory[t], each_memory[t + 1], each_column[t + 1], *scratch
            launch(_MODULE, "forward", dtype, width, permutations.numpy(), *arguments)
        ctx.save_for_backward(weight, permutations, columns, rows, memories)
        ctx.end = end
        outputs = columns[1:, :size, :batch].permute(2, 0, 1).contiguous()
        return outputs, memories[-1, ..., :batch].permute(2, 0, 1).contiguous()

    @staticmethod
    @first_order()
    def backward(ctx: Any, d_outputs: Tensor, d_last: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight, permutations, columns, rows, memories = ctx.saved_tensors
        (batch, time, size), width, end, dtype = d_outputs.shape, columns.shape[2], ctx.end, weight.dtype
        d_columns, d_weight, d_rows = torch.zeros_like(columns), torch.zeros_like(weight), torch.empty_like(rows[:1])
        d_columns[1:, :size, :batch] = d_outputs.permute(1, 2, 0)
        d_memory = torch.zeros_like(memories[:1])
        d_memory[0, ..., :batch] = d_last.permute(1, 2, 0)
        needed = end if ctx.needs_input_grad[0] else size  # the inputs' gradient costs as much as a forward pass
        tiles = weight.new_empty(2, 2 * len(weight) * LANES[dtype])
        each_rows, each_memory, d_hidden = (flat(t) for t in (rows, memories, d_columns))
        changed = [array for t in (d_memory, d_rows, tiles) for array in flat(t)]
        for t in reversed(range(time)):
            given = each_rows[t], each_memory[t], each_memory[t + 1], d_hidden[t + 1]
            launch(_MODULE, "backward", dtype, width, permutations.numpy(), *given, *changed)
            d_weight.addmm_(d_rows[0], columns[t].t())
            d_columns[t, :needed].addmm_(weight[:, :needed].t(), d_rows[0])
        d_steps = d_columns[:-1, size:end, :batch].permute(2, 0, 1) if ctx.needs_input_grad[0] else None
        d_first = d_columns[0, :size, :batch].t(), d_memory[0, ..., :batch].permute(2, 0, 1)
        return d_steps, *d_first, d_weight[:, size:end], d_weight[:, :size], d_weight[:, end], None
