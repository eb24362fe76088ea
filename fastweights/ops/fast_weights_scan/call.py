"""One call of the op, checked: what every backend is handed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastweights.errors import UserError, near
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_scan.step import masked
from fastweights.ops.lengths import check_lengths, inside
from fastweights.rules import Delta, Gate, ScanState, Step

HALF = (torch.float16, torch.bfloat16)
CHUNKS = [2**n for n in range(9)]


@dataclass(frozen=True)
class Call:
    """The arguments of `fast_weights_scan` after the checks: zeros past a sequence's end, float32 in place of half."""

    queries: Tensor  # [batch, time, heads, key]
    keys: Tensor  # [batch, substeps * time, heads, key]
    values: Tensor  # [batch, substeps * time, heads, value]
    gates: dict[str, Tensor | None]  # by all names that the rule has; None: its constant stands in
    rule: Any
    state: ScanState
    resets: Tensor | None  # [batch, time], bool
    lengths: Tensor | None  # [batch], int64, on the device of the keys
    chunk: int | None
    dtype: torch.dtype  # of the outputs
    step: Step | None  # the canonical form of the whole call; None where the rule has none

    @property
    def valid(self) -> Tensor | None:
        """[batch, time], true where a token lies inside its sequence."""
        return None if self.lengths is None else inside(self.lengths, self.queries.shape[1])

    @property
    def substeps(self) -> int:
        return getattr(self.rule, "substeps", 1)


def check(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    gates: Mapping[str, Tensor],
    rule: Any,
    state: Any,
    resets: Tensor | None,
    lengths: Tensor | None,
    chunk: int | None,
) -> Call:
    if isinstance(rule, type) or not callable(getattr(rule, "step", None)) or not hasattr(rule, "GATES"):
        raise UserError(f"rule: got {rule!r}, wanted one with GATES and a step, such as Delta()")
    dtype = queries.dtype if isinstance(queries, Tensor) else torch.float32
    queries, keys, values = (lifted(each) for each in (queries, keys, values))
    for name, tensor in (("queries", queries), ("keys", keys), ("values", values)):
        check_input(name, tensor, queries)
    batch, time, heads, key = queries.shape
    steps = getattr(rule, "substeps", 1) * time
    value = values.shape[-1]
    if getattr(rule, "SQUARE", False) and key != value:
        raise UserError(f"values: got {value} numbers a head, wanted {key} as the keys, for {type(rule).__name__}")
    _check_shape("keys", keys, queries, batch, steps, heads, key)
    _check_shape("values", values, queries, batch, steps, heads, value)
    sizes = {"token": (batch, time, heads), "substep": (batch, steps, heads), "head": (heads,)}
    sizes |= {"head key": (heads, key), "head value": (heads, value), "head value key": (heads, value, key)}
    sizes |= {"key": (*sizes["token"], key), "value": (*sizes["token"], value)}
    given = check_gates(rule, gates, queries, sizes)
    state = check_state(rule, state, keys, values)
    if resets is not None:
        check_resets(resets, batch, time)
    if lengths is not None:
        lengths = check_lengths(lengths, queries)
        valid = inside(lengths, time)
        resets = None if resets is None else resets & valid
        many = valid.repeat_interleave(getattr(rule, "substeps", 1), 1)
        queries, keys, values = (
            torch.where(each[:, :, None, None], tensor, 0.0)
            for each, tensor in ((valid, queries), (many, keys), (many, values))
        )
        for name, tensor in given.items():
            if tensor is not None and not rule.GATES[name].axes.startswith("head"):
                mask = many if rule.GATES[name].axes == "substep" else valid
                given[name] = torch.where(mask.reshape(*mask.shape, *[1] * (tensor.dim() - 2)), tensor, 0.0)
    for name, tensor in given.items():
        if tensor is not None:
            check_range(type(rule).__name__, name, tensor, rule.GATES[name])
    if chunk is not None and (type(chunk) is not int or chunk not in CHUNKS):
        raise UserError(f"chunk: got {chunk!r}, wanted a power of two from 1 to {CHUNKS[-1]}, or None")
    step = rule.lower(queries, keys, values, **given) if hasattr(rule, "lower") else None
    if step is not None and not isinstance(step, Step):
        raise UserError(f"{type(rule).__name__}.lower: got {type(step).__name__}, wanted a Step, or None")
    if step is not None and lengths is not None:
        step = masked(step, inside(lengths, time))
    return Call(queries, keys, values, given, rule, state, resets, lengths, chunk, dtype, step)


def check_resets(resets: Any, batch: int, time: int) -> None:
    if not isinstance(resets, Tensor) or resets.dtype is not torch.bool or resets.shape != (batch, time):
        got = f"{resets.dtype} of shape {list(resets.shape)}" if isinstance(resets, Tensor) else type(resets).__name__
        raise UserError(f"resets: got {got}, wanted torch.bool of shape {[batch, time]}: true where a sequence begins")


def lifted(tensor: Any) -> Any:
    """Half precision as float32, for a memory adds up."""
    return tensor.float() if isinstance(tensor, Tensor) and tensor.dtype in HALF else tensor


def check_input(name: str, tensor: Any, queries: Tensor) -> None:
    last = "value" if name == "values" else "key"
    if not isinstance(tensor, Tensor) or tensor.dim() != 4:
        got = f"shape {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise UserError(f"{name}: got {got}, wanted a tensor [batch, time, heads, {last}]")
    if not tensor.dtype.is_floating_point:
        raise UserError(f"{name}: got {tensor.dtype}, wanted a floating-point tensor")
    if tensor.dtype != queries.dtype or tensor.device != queries.device:
        wanted = f"{queries.dtype} on {queries.device} as the queries"
        raise UserError(f"{name}: got {tensor.dtype} on {tensor.device}, wanted {wanted}")
    if 0 in tensor.shape[2:]:
        raise UserError(f"{name}: got shape {list(tensor.shape)}, wanted at least one head and one number in each")


def check_gates(
    rule: Any, gates: Mapping[str, Tensor], queries: Tensor, sizes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor | None]:
    owner, known = type(rule).__name__, rule.GATES
    if not isinstance(gates, Mapping):
        raise UserError(f"gates: got {type(gates).__name__}, wanted a dict of tensors by the names of gates")
    for name, gate in known.items():
        if not isinstance(gate, Gate):
            raise UserError(
                f"{owner}.GATES[{name!r}]: got {type(gate).__name__}, wanted a Gate, as Gate('what it does')"
            )
    for name in gates:
        if name not in known:
            has = f"has the gates {', '.join(known)}" if known else "has no gates"
            has += "; it is the rule where none is named" if type(rule) is Delta else ""
            raise UserError(f"gates: got {name!r}{near(str(name), known)}; {owner} {has}")
    given: dict[str, Tensor | None] = {}
    for name, gate in known.items():
        given[name] = lifted(gates.get(name))
        shape = sizes[gate.axes]
        if given[name] is not None:
            _check_shape(f"gates[{name!r}]", given[name], queries, *shape)
        elif gate.constant is None:
            raise UserError(f"gates: got no {name!r}, wanted a tensor {list(shape)}: {owner} needs it ({gate.says})")
    return given


def check_range(owner: str, name: str, tensor: Tensor, gate: Gate) -> None:
    """Raise where a gate of the CPU is NaN or out of its range; an accelerator would have to wait."""
    if limits.abstract() or not tensor.is_cpu or not tensor.numel():
        return
    low, high = (float(each) for each in tensor.detach().aminmax())
    if math.isnan(low) or math.isnan(high):
        wanted = f"wanted numbers {_span(gate)} ({owner}: {gate.says})"
        raise UserError(f"gates[{name!r}]: got NaN, {wanted}; a layer makes them of its input and its weights")
    if low < gate.low or high > gate.high:
        got = f"{low:g}" if low < gate.low else f"{high:g}"
        raise UserError(f"gates[{name!r}]: got {got}, wanted numbers {_span(gate)} ({owner}: {gate.says})")


def _span(gate: Gate) -> str:
    if math.isfinite(gate.low) == math.isfinite(gate.high):
        return f"from {gate.low:g} to {gate.high:g}"
    return f"<= {gate.high:g}" if math.isfinite(gate.high) else f">= {gate.low:g}"


def check_state(rule: Any, state: Any, keys: Tensor, values: Tensor) -> ScanState:
    """The state that was given, or zeros."""
    lead, key, value = (keys.shape[0], keys.shape[2]), keys.shape[3], values.shape[3]
    others = [(*lead, *shape) for shape in rule.others(key, value)] if hasattr(rule, "others") else []
    shapes = [(*lead, value, key), *others]
    if state is None:
        weights, *rest = (keys.new_zeros(shape) for shape in shapes)
        return ScanState(weights, tuple(rest))
    wanted = f"ScanState(weights {list(shapes[0])}, others ({', '.join(str(list(each)) for each in others)}))"
    if isinstance(state, Tensor) or not isinstance(state, tuple | list) or len(state) not in (1, 2):
        raise UserError(f"state: got {type(state).__name__}, wanted {wanted}, or None")
    state = ScanState(lifted(state[0]), tuple(map(lifted, state[1])) if len(state) == 2 else ())
    tensors = (state.weights, *state.others)
    if not all(isinstance(each, Tensor) for each in tensors) or [each.shape for each in tensors] != shapes:
        got = ", ".join(str(list(each.shape)) if isinstance(each, Tensor) else type(each).__name__ for each in tensors)
        raise UserError(f"state: got {got}, wanted {wanted} to go with {type(rule).__name__} and these keys and values")
    for each in tensors:
        if each.dtype != keys.dtype or each.device != keys.device:
            wanted = f"{keys.dtype} on {keys.device} as the keys"
            raise UserError(f"state: got {each.dtype} on {each.device}, wanted {wanted}")
    return state


def _check_shape(name: str, tensor: Any, queries: Tensor, *shape: int) -> None:
    if not isinstance(tensor, Tensor):
        raise UserError(f"{name}: got {type(tensor).__name__}, wanted a tensor {list(shape)}")
    if tensor.shape != shape:
        with_queries = f"to go with queries {list(queries.shape)}"
        raise UserError(f"{name}: got shape {list(tensor.shape)}, wanted {list(shape)} {with_queries}")
    if tensor.dtype != queries.dtype or tensor.device != queries.device:
        wanted = f"{queries.dtype} on {queries.device} as the queries"
        raise UserError(f"{name}: got {tensor.dtype} on {tensor.device}, wanted {wanted}")
