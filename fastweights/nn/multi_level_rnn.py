import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fastweights.nn.arguments import batched, check_sizes, final, initial, pair
from fastweights.ops.fast_weights_rnn import UnsupportedBackend, fast_weights_rnn
from fastweights.ops.fast_weights_rnn.attention import as_stored, strength
from fastweights.ops.fast_weights_rnn.reference import bounded
from fastweights.ops.layer_norm import EPSILON, cut_at_zero
from fastweights.rules import Cosine, Hebbian
from fastweights.rules.control import FIGURE_3, Step, parse_control, steps_of

FUSED = 2  # steps of a slow run from which on one call of the op is taken for it


class MultiLevelRNN(nn.Module):
    r"""A ReLU RNN that writes and reads its fast weights where a control signal says so, else runs by slow weights.

        slow:           h(t) = f(LN[W h(t-1) + C x(t)])
        read:           h(t) = f(LN'[b + A f(b)])                  b = W h(t-1) + C x(t)
        read+integrate: h(t) = f(LN'[V h(t-1) + C x(t) + A f(C x(t))])
        write:          A = decay A + rate h(t) h(t)^T             behind any of these; A does not change elsewhere
        wipe:           h(t) = 0 for the step behind it

    It differs from `FastWeightsRNN` by the control signal: that one reads and writes at every step, as it does
    here by `control="read+write"`. The default is the multi-level model of the paper: the hidden vector of a coarse
    glimpse is stored and wiped, four fine glimpses are read by the slow weights, and the coarse glimpse, shown again,
    recalls what was stored. A control signal that is shorter than a sequence begins again at its end.

    It is called as `nn.RNN(batch_first=True)` is, with a pair for a state: `output, (hidden, weights) = rnn(input,
    state)`, of [1, batch, hidden] and [1, batch, hidden, hidden]. A sequence that goes on from a state says by `first`
    at which step of the signal. `need_state=False` gives None for it. `norm_slow=False` leaves out the layer norm of
    steps that do not read, f is ReLU; `rule` is any update rule, and of `Hebbian` and `Cosine` A is never formed.

    Runs of slow steps are one call each, and those that begin from a wiped hidden vector one call together.

    Paper: Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258 (section 4.2, Figure 3).
    """

    batch_first = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        control: str = FIGURE_3,
        rule: Any = None,
        norm_slow: bool = True,
        recurrent_scale: float = 0.05,
    ) -> None:
        super().__init__()
        check_sizes("MultiLevelRNN", input_size=input_size, hidden_size=hidden_size)
        parse_control(control)
        self.input_size, self.hidden_size, self.control = input_size, hidden_size, control
        self.rule = Hebbian(decay=0.95, rate=0.5) if rule is None else rule
        self.norm_slow, self.recurrent_scale = norm_slow, recurrent_scale
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh_l0, self.weight_integrate = (
            nn.Parameter(torch.empty(hidden_size, hidden_size)) for _ in range(2)
        )
        self.gain_read, self.bias_read, self.bias_slow = (nn.Parameter(torch.empty(hidden_size)) for _ in range(3))
        self.gain_slow = nn.Parameter(torch.empty(hidden_size)) if norm_slow else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for name, weight in self.named_parameters():
            if name in ("weight_ih_l0", "weight_integrate"):
                nn.init.uniform_(weight, -bound, bound)
            elif name == "weight_hh_l0":
                nn.init.eye_(weight).mul_(self.recurrent_scale)
            else:
                nn.init.constant_(weight, float(name.startswith("gain")))

    def forward(
        self,
        input: Float[Tensor, "... time input"],
        state: tuple[Tensor, Tensor] | None = None,
        *,
        first: int = 0,
        need_state: bool = True,
    ) -> tuple[Float[Tensor, "... time hidden"], tuple[Tensor, Tensor] | None]:
        outputs, hidden, memory, _ = self._run(input, state, first)
        output = torch.stack(outputs, dim=1)
        output = output if input.dim() == 3 else output.squeeze(0)
        return output, (final(input, hidden), final(input, memory.weights())) if need_state else None

    def attention(self, input: Tensor) -> Float[Tensor, "batch time time"]:
        """The weight that the read of each step gave to the hidden vector of each earlier one: zero where that was not
        written, or where nothing is read.

            weight[t, tau] = rate decay^(writes between them) <h(tau), query(t)>

        Of `Cosine` directions stand in place of h, and the weights are those of the bounded read. They may be negative,
        and do not add up to 1. Raises `UnsupportedBackend` where the rule has no such form.
        """
        if type(self.rule) not in (Hebbian, Cosine):
            name = type(self.rule).__name__
            raise UnsupportedBackend(f"cannot show what was attended to: there is no attention over hidden vectors of "
                                     f"the rule {name}, only of Hebbian and Cosine")  # fmt: skip
        outputs, _, _, reads = self._run(input, None, 0)
        shown = outputs[0].new_zeros(len(outputs[0]), len(outputs), len(outputs))
        for t, (places, scores) in reads.items():
            shown[:, t, places] = scores
        return shown

    def _run(self, input: Tensor, state: Any, first: int) -> tuple[list[Tensor], Tensor, "Memory", dict[int, Any]]:
        """The outputs of all steps, the hidden vector and the memory after the last, and what was read where."""
        x = batched("MultiLevelRNN", input, self.input_size)
        hidden, weights = pair("MultiLevelRNN", state)
        before = None if hidden is None else initial("MultiLevelRNN", "hidden state", hidden, input, self.hidden_size)
        if weights is not None:
            weights = initial("MultiLevelRNN", "memory", weights, input, self.hidden_size, self.hidden_size)
        steps = steps_of(self.control, x.shape[1], first)
        inputs = functional.linear(x, self.weight_ih_l0)
        memory = Memory(self.rule, inputs, weights)
        outputs: list[Tensor] = [inputs] * len(steps)  # placeholders
        runs = slow_runs(steps, before is None)
        done = self._from_zero(inputs, [run for run in runs.values() if run.from_zero])
        reads: dict[int, Any] = {}
        t = 0
        while t < len(steps):
            run = runs.get(t)
            if run is None:
                new, read = self._read(inputs[:, t], before, memory, steps[t])
                found = [new]
                if read is not None:
                    reads[t] = memory.places, read
            else:
                found = done[t] if run.from_zero else self._slow(inputs, run, before)
            for output in found:
                outputs[t] = output
                if steps[t].write:
                    memory.write(t, output)
                before = None if steps[t].wipe else output
                t += 1
        return outputs, inputs.new_zeros(inputs[:, 0].shape) if before is None else before, memory, reads

    def _from_zero(self, inputs: Tensor, runs: Sequence["Run"]) -> dict[int, list[Tensor]]:
        """The runs that begin from zeros hang on nothing before them: those of one length are computed together."""
        found: dict[int, list[Tensor]] = {}
        for length in {run.length for run in runs}:
            starts = [run.start for run in runs if run.length == length]
            pieces = [inputs[:, start : start + length] for start in starts]
            outputs = self._slow_steps(torch.cat(pieces) if len(pieces) > 1 else pieces[0], None)
            for start, chunk in zip(
                starts, zip(*(each.chunk(len(starts)) for each in outputs), strict=True), strict=True
            ):
                found[start] = list(chunk)
        return found

    def _slow(self, inputs: Tensor, run: "Run", before: Tensor | None) -> list[Tensor]:
        return self._slow_steps(inputs[:, run.start : run.start + run.length], before)

    def _slow_steps(self, inputs: Tensor, before: Tensor | None) -> list[Tensor]:
        """Steps without a read, [batch, time, hidden], each from the one before it."""
        gain = self.gain_slow
        boundary = inputs[:, 0] if before is None else torch.addmm(inputs[:, 0], before, self.weight_hh_l0.t())
        if inputs.shape[1] < FUSED:
            return [self._normed(boundary, gain, self.bias_slow)]
        if before is not None:
            inputs = torch.cat([boundary[:, None], inputs[:, 1:]], dim=1)
        norm: tuple[Any, ...] = (gain, self.bias_slow)
        if gain is None:
            inputs, norm = inputs + self.bias_slow, (None, None)
        options: Any = {"rule": Hebbian(), "inner_steps": 0, "need_state": False}
        return list(fast_weights_rnn(inputs, self.weight_hh_l0, *norm, **options)[0].unbind(1))

    def _read(self, x: Tensor, before: Tensor | None, memory: "Memory", step: Step) -> tuple[Tensor, Tensor | None]:
        """A step that reads, or integrates: its output, and the weights of the read where there are any."""
        weight = self.weight_integrate if step.integrate else self.weight_hh_l0
        boundary = x if before is None else torch.addmm(x, before, weight.t())
        scores = None
        if step.read:
            added, scores = memory.read(torch.relu(x if step.integrate else boundary), boundary)
            boundary = boundary if added is None else boundary + added
        return self._normed(boundary, self.gain_read, self.bias_read), scores

    def _normed(self, boundary: Tensor, gain: Tensor | None, bias: Tensor) -> Tensor:
        if gain is None:
            return torch.relu(boundary + bias)
        return functional.layer_norm(cut_at_zero(boundary), (self.hidden_size,), gain, bias, EPSILON).relu()

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, control={self.control!r}, rule={self.rule}"


class Run(NamedTuple):
    """Neighbouring steps that neither read nor integrate, up to a wipe."""

    start: int
    length: int
    from_zero: bool


def slow_runs(steps: Sequence[Step], from_zero: bool) -> dict[int, Run]:
    """By their first steps."""
    found: dict[int, Run] = {}
    start = None
    for t, step in enumerate(steps):
        if step.read or step.integrate:
            start, from_zero = None, step.wipe
            continue
        if start is None:
            start = t
            found[start] = Run(start, 0, from_zero)
        found[start] = found[start]._replace(length=t + 1 - start)
        if step.wipe:
            start, from_zero = None, True
        else:
            from_zero = False
    return found


class Memory:
    """The fast weights of a sequence: the few vectors that were written, or the matrix where the rule wants it."""

    def __init__(self, rule: Any, like: Tensor, first: Tensor | None) -> None:
        self.rule, self.first, self.like = rule, first, like
        self.attends = type(rule) in (Hebbian, Cosine)
        self.matrix = first
        self.places: list[int] = []  # the steps that were written; a new list for each write
        self.stored: list[Tensor] = []

    def write(self, t: int, hidden: Tensor) -> None:
        self.places = [*self.places, t]
        if self.attends:
            self.stored.append(as_stored(self.rule, hidden))
        else:
            self.matrix = self.rule.write(self._matrix(), key=hidden, value=hidden)

    def read(self, query: Tensor, boundary: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the boundary, and the weights of the vectors that were written; None where none was."""
        if not self.places and self.first is None:
            return None, None
        if not self.attends:
            return bounded(self.rule, self.rule.read(self._matrix(), query), boundary), None
        query, read, scores = as_stored(self.rule, query), torch.zeros_like(query), None
        if self.stored:
            keys = torch.stack(self.stored, dim=1)
            scores = (keys * query[:, None]).sum(-1) * self._scale(keys)
            read = (keys * scores[..., None]).sum(1)
        if self.first is not None:
            read = read + self.left * (self.first @ query[..., None]).squeeze(-1)
        if type(self.rule) is Cosine:
            factor = self.rule.factor(read, boundary)
            return read * factor, None if scores is None else scores * factor
        return read, scores

    def weights(self) -> Tensor:
        """The matrix A."""
        if not self.attends or not self.stored:
            return self._matrix().clone()
        keys = torch.stack(self.stored, dim=1)
        weights = (keys * self._scale(keys)[:, None]).transpose(1, 2) @ keys
        return weights if self.first is None else weights + self.left * self.first

    @property
    def left(self) -> float:
        """What is left of the first matrix."""
        return self.rule.decay ** len(self.stored)

    def _scale(self, like: Tensor) -> Tensor:
        """[writes]: rate decay^(writes since)."""
        count = len(self.stored)
        return like.new_tensor([float(strength(self.rule)) * self.rule.decay ** (count - 1 - n) for n in range(count)])

    def _matrix(self) -> Tensor:
        size = self.like.shape[-1]
        return self.like.new_zeros(len(self.like), size, size) if self.matrix is None else self.matrix
