"""Arguments of recurrent networks: check them, add the axes that they came without, take those off the results."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from fastweights.errors import UserError
from fastweights.ops.cpu import limits


def check_sizes(owner: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{owner}: got {name}={size!r}, wanted an integer >= 1")


def check_device(symbols: Tensor, table: Tensor) -> None:
    if symbols.is_meta and not table.is_meta:  # torch would leave the result as the memory was
        raise UserError(f"symbols: got a tensor on meta, wanted {table.device} as the features")


def check_symbols(name: str, symbols: Any, count: int, batch: int | None = None) -> None:
    """Raise where they are not [batch, time] of 0 to count - 1; an accelerator would have to wait for the range."""
    if not isinstance(symbols, Tensor) or symbols.dim() != 2 or symbols.dtype not in (torch.int32, torch.int64):
        got = (
            f"{symbols.dtype} of shape {list(symbols.shape)}" if isinstance(symbols, Tensor) else type(symbols).__name__
        )
        raise UserError(f"{name}: got {got}, wanted integers [batch, time]")
    if 0 in symbols.shape or (batch is not None and len(symbols) != batch):
        wanted = "[batch, time], each at least 1" if batch is None else f"[{batch}, steps], a row for each source"
        raise UserError(f"{name}: got shape {list(symbols.shape)}, wanted {wanted}")
    if symbols.is_cpu and not limits.abstract():
        low, high = (int(each) for each in symbols.aminmax())
        if low < 0 or high >= count:
            raise UserError(f"{name}: got symbol {low if low < 0 else high}, wanted 0 to {count - 1}")


def embed(symbols: Tensor, table: Tensor) -> Tensor:
    """table[symbols]"""
    check_device(symbols, table)
    return functional.embedding(symbols, table)


def look_up(table: Tensor, symbols: Tensor) -> Tensor:
    """table[symbols]; on a CPU by index_select, whose gradient takes half the time of that of an embedding."""
    if table.is_cuda:  # there it adds in any order: the gradient would change from run to run
        return embed(symbols, table)
    check_device(symbols, table)
    return table.index_select(0, symbols.reshape(-1)).view(*symbols.shape, table.shape[1])


def batched(owner: str, input: Tensor, input_size: int, lengths: bool = False) -> Tensor:
    """The input as [batch, time, input], whether or not it came with a batch axis.

    lengths: whether the module takes them, which is the way out for a PackedSequence.
    """
    wanted = f"a tensor [batch, time, {input_size}] or [time, {input_size}]"
    if not isinstance(input, Tensor):
        way = "; pad it, and give `lengths`" if lengths and isinstance(input, PackedSequence) else ""
        raise TypeError(f"{owner}: got an input of type {type(input).__name__}, wanted {wanted}{way}")
    if input.dim() not in (2, 3) or input.shape[-1] != input_size or input.shape[-2] == 0:
        raise ValueError(f"{owner}: got an input of shape {list(input.shape)}, wanted {wanted}, time at least 1")
    return input if input.dim() == 3 else input.unsqueeze(0)


def check_like(owner: str, input: Tensor, weight: Tensor) -> None:
    """Raise where an input and the weights are of two dtypes or devices; autocast brings dtypes together by itself."""
    device = input.device.type
    cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device) and input.is_floating_point()
    if (input.dtype != weight.dtype and not cast) or input.device != weight.device:
        wanted = f"{weight.dtype} on {weight.device} as the weights"
        raise UserError(f"{owner}: got an input of {input.dtype} on {input.device}, wanted {wanted}")


def initial(owner: str, name: str, state: Any, input: Tensor, *shape: int) -> Tensor:
    """One tensor of the state as [batch, *shape]; None: zeros. It comes as [1, batch, *shape], the batch axis only
    where the input has one."""
    batch = list(input.shape[:-2])
    if state is None:
        return input.new_zeros(*(batch or [1]), *shape)
    if not isinstance(state, Tensor):
        raise TypeError(f"{owner}: got a {name} of type {type(state).__name__}, wanted a tensor {[1, *batch, *shape]}")
    if list(state.shape) != [1, *batch, *shape]:
        raise ValueError(
            f"{owner}: got a {name} of shape {list(state.shape)}, wanted {[1, *batch, *shape]} "
            f"to go with an input of shape {list(input.shape)}"
        )
    return state.squeeze(0) if batch else state


def pair(owner: str, state: Any) -> tuple[Any, Any]:
    """The two tensors of a state such as (hidden, cell); None: no state."""
    if state is None:
        return None, None
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise TypeError(f"{owner}: got a state of type {type(state).__name__}, wanted a pair (hidden, cell) or None")
    return state[0], state[1]


def as_given(input: Tensor, outputs: list[Tensor]) -> Tensor:
    """The outputs of all steps, [batch, time, hidden], without the batch axis where the input has none."""
    output = torch.stack(outputs, dim=1)
    return output if input.dim() == 3 else output.squeeze(0)


def final(input: Tensor, state: Tensor) -> Tensor:
    """A [batch, ...] state after the last step with its leading axis of 1, in the form in which `initial` takes it."""
    return state.unsqueeze(0) if input.dim() == 3 else state
