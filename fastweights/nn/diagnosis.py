"""What the memory of a network does to an input: by layer and by step, and one sentence of advice."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.nn.recurrent_layer import current_rule, project, slow_weights
from fastweights.ops.fast_weights_rnn.attention import as_stored
from fastweights.ops.fast_weights_rnn.call import Call, check
from fastweights.ops.fast_weights_rnn.reference import bounded, layer_norm, nonlinearity, settle
from fastweights.ops.layer_norm import EPSILON

DROWNED = 5.0  # reads of so many boundaries: little of the input is left
UNUSED = 0.05


@dataclass(frozen=True)
class LayerDiagnosis:
    """Of one layer and direction; each a number a step, [time], the mean over the batch.

    read: |what the memory adds| over |the boundary's deviation from its mean|, of the last inner step.
    norm: |A(t)|, the square root of the sum of its squares, before the step is written.
    attended: the effective number of earlier steps that are attended to, exp of the entropy of |<h(tau), query>|
        decay^(t-tau) over tau; 0 at the first step.
    similarity: the mean cosine of the output and of that with another sample's input at this step; 1: the input makes
        no difference. NaN where there is one sample.
    """

    name: str
    read: Tensor
    norm: Tensor
    attended: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class Diagnosis:
    """What `FastWeightsRNN.diagnose` returns: `print` shows it as a table."""

    layers: tuple[LayerDiagnosis, ...]

    @property
    def drowned(self) -> bool:
        """Whether a read is so much longer than the boundary that little of the input is left."""
        return any(float(each.read.max()) > DROWNED for each in self.layers)

    @property
    def advice(self) -> str:
        layer = max(self.layers, key=lambda each: float(each.read.max()))
        most, step = float(layer.read.max()), int(layer.read.argmax()) + 1
        if self.drowned:
            return (
                f"The read drowns the input: {most:.3g} times the boundary in layer {layer.name} at step {step}. "
                "Training learns little until it has turned the read down. "
                "Begin with a smaller rate, or with the rule Cosine(), whose read is bounded."
            )
        if most == 0:
            return "No step reads the memory: it is the network without fast weights."
        if most < UNUSED:
            return "The memory is hardly read: compare with inner_steps=0, which costs less."
        return f"The read is at most {most:.2g} times the boundary, so the input is heard: nothing to change."

    def __str__(self) -> str:
        lines = [
            f"{'layer':<12} {'step':>5} {'read/boundary':>14} {'|A|':>9} {'steps attended':>15} {'similarity':>11}"
        ]
        for each in self.layers:
            for t in shown(len(each.read)):
                row = f"{each.read[t]:>14.3g} {each.norm[t]:>9.3g} {each.attended[t]:>15.1f}"
                lines.append(f"{each.name:<12} {t + 1:>5} {row} {each.similarity[t]:>11.2f}")
        return "\n".join([*lines, self.advice])


def shown(time: int) -> list[int]:
    """A few steps, ever farther apart, and the last."""
    steps = [step for power in range(6) for step in (10**power, 2 * 10**power, 5 * 10**power)]
    return [step - 1 for step in steps if step < time] + [time - 1]


@torch.no_grad()
def look_into(module: Any, suffix: str, name: str, inputs: Tensor) -> tuple[Tensor, LayerDiagnosis]:
    """The outputs of one layer and direction, step by step with the explicit matrix, and what was seen.

    inputs: [batch, time, input_size]
    """
    rule, slow = current_rule(module, suffix), slow_weights(module, suffix)
    projected = project(module, suffix, inputs)
    call = check(projected, *slow, None, rule, module.inner_steps, module.nonlinearity, None)
    hidden, weights = call.hidden, call.hidden.new_zeros(*call.hidden.shape, call.hidden.shape[1])
    outputs: list[Tensor] = []
    seen: list[list[Tensor]] = [[], [], [], []]
    for t in range(inputs.shape[1]):
        boundary = projected[:, t] + hidden @ call.recurrent.T
        new, asked, added = _step(call, boundary, weights)
        others = _step(call, boundary + projected[:, t].roll(1, 0) - projected[:, t], weights)[0]
        size = (boundary - boundary.mean(1, keepdim=True)).norm(dim=1).clamp_min(EPSILON)
        seen[0].append((added.norm(dim=1) / size).mean())
        seen[1].append(weights.flatten(1).norm(dim=1).mean())
        seen[2].append(_attended(rule, outputs, asked) if module.inner_steps and outputs else size.new_zeros(()))
        seen[3].append(functional.cosine_similarity(new, others).mean() if len(new) > 1 else size.new_tensor(math.nan))
        hidden, weights = new, rule.write(weights, key=new, value=new)
        outputs.append(new)
    return torch.stack(outputs, 1), LayerDiagnosis(name, *(torch.stack(each) for each in seen))


def _attended(rule: Any, outputs: list[Tensor], query: Tensor) -> Tensor:
    """How many earlier steps a query attends to."""
    past = as_stored(rule, torch.stack(outputs, 1))
    ages = torch.arange(past.shape[1] - 1, -1, -1, device=past.device)
    alone = (past @ as_stored(rule, query)[..., None]).squeeze(2).abs()
    alone = alone * float(getattr(rule, "decay", 1.0)) ** ages
    share = alone / alone.sum(1, keepdim=True).clamp_min(EPSILON)
    return torch.special.entr(share).sum(1).exp().mean()


def _step(call: Call, boundary: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """h(t+1), the last query, and what the last read added to the boundary."""
    if not call.inner_steps:
        return settle(call, boundary, weights), boundary, torch.zeros_like(boundary)
    new = asked = added = nonlinearity(call, boundary)
    for _ in range(call.inner_steps):
        asked, added = new, bounded(call.rule, call.rule.read(weights, new), boundary)
        new = nonlinearity(call, layer_norm(call, boundary + added))
    return new, asked, added
