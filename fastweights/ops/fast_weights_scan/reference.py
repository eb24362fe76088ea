"""Token by token, by the rule's own `step`: slow, any rule, any dtype. The truth for the others."""

import torch
from torch import Tensor

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
        output, new = call.rule.step(state, call.queries[:, t], key, value, **gates)
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


def gate_at(gate: Tensor | None, axes: str, t: int, substeps: int) -> Tensor | None:
    if gate is None or axes.startswith("head"):
        return gate
    return many_at(gate, t, substeps) if axes == "substep" else gate[:, t]


def many_at(x: Tensor, t: int, substeps: int) -> Tensor:
    """x of token t, [batch, heads, ...], or of a rule with substeps [batch, heads, substeps, ...]."""
    return x[:, t] if substeps == 1 else x[:, t * substeps : (t + 1) * substeps].transpose(1, 2)


def chosen(now: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(now.reshape(-1, *[1] * (new.dim() - 1)), new, old)
