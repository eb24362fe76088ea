"""An LSTM over sequences of symbols on a CPU: the products with the weights by torch, the rest by kernels."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fastweights.ops.cpu.buffers import flat, whole
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.limits import first_order

_MODULE = "lstm.cpu_kernels"


class LastHidden(torch.autograd.Function):
    """The hidden state after the last step, [batch, hidden], from zeros.

    table: what the input weights and both biases give for each symbol. Rows as `nn.LSTM` orders them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        table: Float[Tensor, "row symbol"],
        weight: Float[Tensor, "row hidden"],
        symbols: Int[Tensor, "batch time"],
    ) -> Any:
        (batch, time), (count, size) = symbols.shape, weight.shape
        low, high = (int(end) for end in torch.aminmax(symbols))
        if low < 0 or high >= table.shape[1]:
            raise IndexError(f"symbols: got {low} to {high}, wanted 0 to {table.shape[1] - 1}")
        width = whole(batch, table.dtype)
        names = symbols.new_empty(time, width)
        names[:, :batch] = symbols.t()
        names[:, batch:] = names[:, :1]  # lanes that nobody reads: a symbol that is nowhere may be NaN
        rows, memories = table.new_empty(time, count, width), table.new_empty(time + 1, size, width)
        hidden, n = torch.empty_like(memories), size * width
        memories[0] = 0.0
        each_rows, each_memory, each_hidden = (flat(t) for t in (rows, memories, hidden))
        for t in range(time):
            torch.index_select(table, 1, names[t], out=rows[t])
            if t:
                rows[t].addmm_(weight, hidden[t])
            arguments = each_rows[t], each_memory[t], each_memory[t + 1], each_hidden[t + 1]
            launch(_MODULE, "forward", table.dtype, n, *arguments)
        ctx.save_for_backward(weight, names, rows, memories, hidden)
        ctx.batch, ctx.entries = batch, table.shape[1]
        return hidden[time, :, :batch].t().clone(memory_format=torch.contiguous_format)

    @staticmethod
    @first_order()
    def backward(ctx: Any, d_last: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight, names, rows, memories, hidden = ctx.saved_tensors
        (time, count, width), size, dtype = rows.shape, weight.shape[1], weight.dtype
        d_weight, d_table = torch.zeros_like(weight), weight.new_zeros(ctx.entries, count)
        d_hidden, d_memory = weight.new_zeros(1, size, width), weight.new_zeros(1, size, width)
        d_hidden[0, :, : ctx.batch] = d_last.t()
        d_rows = torch.empty_like(rows[:1])
        each_rows, each_memory = flat(rows), flat(memories)
        changed = [array for t in (d_hidden, d_memory, d_rows) for array in flat(t)]
        for t in reversed(range(time)):
            given = each_rows[t], each_memory[t], each_memory[t + 1]
            launch(_MODULE, "backward", dtype, size * width, *given, *changed)
            d_table.index_add_(0, names[t], d_rows[0].t().contiguous())  # as rows it takes a quarter of the time
            if t:
                d_weight.addmm_(d_rows[0], hidden[t].t())
                torch.mm(weight.t(), d_rows[0], out=d_hidden[0])
        return d_table.t(), d_weight, None
