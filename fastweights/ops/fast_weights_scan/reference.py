"""Token by token, by the rule's own `step`: slow, any rule, any dtype. The truth for the others."""

from typing import Any

import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.ops.fast_weights_scan.call import Call
from fastweights.rules import ScanState


def why_not(call: Call) -> str | None:
    return None


def run(call: Call) -> tuple[Tensor, ScanState]:
    state, valid, outputs = call.state, call.valid, []
    substeps = call.substeps
    axes = {name: call.rule.GATES[name].axes for name in call.gates}
    for t in range(call.queries.shape[1]):
        if call.resets is not None:
            state = state.reset(call.resets[:, t])
        gates = {name: gate_at(gate, axes[name], t, substeps) for name, gate in call.gates.items()}
        key, value = (many_at(each, t, substeps) for each in (call.keys, call.values))
        output, new = stepped(call, call.rule.step(state, call.queries[:, t], key, value, **gates))
        if valid is not None:
            now = valid[:, t]
            output = torch.where(now[:, None, None], output, 0.0)
            new = ScanState(
                chosen(now, new.weights, state.weights),
                tuple(chosen(now, one, other) for one, other in zip(new.others, state.others, strict=True)),
            )
        outputs.append(output)
        state = new
    if not outputs:  # what was given stays apart from what is returned
        return torch.zeros_like(call.values), state.map(torch.clone)
    return torch.stack(outputs, 1), state


def stepped(call: Call, made: Any) -> tuple[Tensor, ScanState]:
    """What a rule's step gave, which may be a user's: a pair as it must be."""
    name, shapes = type(call.rule).__name__, [each.shape for each in (call.state.weights, *call.state.others)]
    wanted = [call.queries.shape[0], *call.values.shape[2:]]
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[1], ScanState):
        got = f"({', '.join(type(each).__name__ for each in made)})" if isinstance(made, tuple) else type(made).__name__
        raise UserError(f"{name}.step: got {got}, wanted a pair (output {wanted}, ScanState(weights, others))")
    output, state = made
    if list(output.shape) != wanted:
        raise UserError(f"{name}.step: got an output of shape {list(output.shape)}, wanted {wanted}")
    got = [each.shape for each in (state.weights, *state.others)]
    if got != shapes:
        told = [str([list(each) for each in many]) for many in (got, shapes)]
        raise UserError(f"{name}.step: got a state of shapes {told[0]}, wanted {told[1]} as before the step")
    return output, state


def gate_at(gate: Tensor | None, axes: str, t: int, substeps: int) -> Tensor | None:
    if gate is None or axes.startswith("head"):
        return gate
    return many_at(gate, t, substeps) if axes == "substep" else gate[:, t]


def many_at(x: Tensor, t: int, substeps: int) -> Tensor:
    """x of token t, [batch, heads, ...], or of a rule with substeps [batch, heads, substeps, ...]."""
    return x[:, t] if substeps == 1 else x[:, t * substeps : (t + 1) * substeps].transpose(1, 2)


def chosen(now: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(now.reshape(-1, *[1] * (new.dim() - 1)), new, old)
