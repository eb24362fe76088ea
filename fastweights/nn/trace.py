"""A look inside: all that a network did with one sequence, and states of it in which the memory was changed."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastweights import memory
from fastweights.errors import UserError
from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.nn.layer_trace import Array, LayerTrace, Term, trace_layer
from fastweights.nn.sequence_model import SequenceModel
from fastweights.ops import FastWeightsState
from fastweights.ops.state import as_state


@dataclass(frozen=True)
class Trace:
    """One sequence of T steps in a network of H units, as NumPy arrays; steps are numbered from 0, and -1 is the last.

    layers: a `LayerTrace` for each layer and direction, all that its memory did; () of what is no `FastWeightsRNN`.
    inputs: [T] symbols or [T, features].
    hidden: [T, H], what the head reads.
    logits: [T, outputs], the head of every hidden vector, asked or not; None of a bare `FastWeightsRNN`.
    dtype: of the model, and of the states below. A fast-weights network is computed in float64 from its weights.
    symbols, classes: what the inputs and the outputs are called; None where nobody says.
    asked: [T], true where the task wants an answer; targets: the right ones, [T], with `NOTHING` where none is wanted.
    classified: whether the answers are classes; a single output is none.

    `attention`, `weights` and `queries` are those of the last layer.

    Edits. `state(at)` is the state after a step, for `model.step` or `run.trace(more, state)`. `erase` and `overwrite`
    return it with one write changed. They change the memory of that moment alone: hidden vectors that were made from it
    stay. So to ask again, change the state before the question, at=-2, and read the question.
    """

    layers: tuple[LayerTrace, ...]
    inputs: Array
    hidden: Array
    logits: Array | None
    dtype: torch.dtype
    symbols: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    asked: Array | None = None
    targets: Array | None = None
    classified: bool = True

    @property
    def probabilities(self) -> Array | None:
        """[T, outputs], the softmax of the logits; None where an answer is no class, but numbers."""
        if self.logits is None or not self.classified:
            return None
        return torch.from_numpy(self.logits).softmax(-1).numpy()

    @property
    def attention(self) -> Array:
        """[T, T]: what the last inner step of each step, in the last layer, gave to the values of earlier steps.

        Row t adds up to what was added to the boundary: attention[t] @ layers[-1].values. Thickness and sign of the
        arcs. Zero where nothing is read.
        """
        found = self._last.attention
        if found is None:
            self._last.stored()  # says why
        assert found is not None
        return found[:, -1] if found.shape[1] else np.zeros((len(found), len(found)))

    @property
    def weights(self) -> Array:
        """[T, H, H], A(t) of the last layer."""
        return self._last.weights

    @property
    def queries(self) -> Array:
        """[T, S, H] of the last layer."""
        return self._last.queries

    @property
    def answer(self) -> Any:
        """The answers where the task asks, else after the last step: a text of classes, or an array of numbers."""
        if self.logits is None:
            raise UserError("Trace: got a network without a head, wanted a SequenceModel, which answers")
        asked = self.logits[-1:] if self.asked is None else self.logits[self.asked]
        if self.classes is None:
            return asked if self.probabilities is None else asked.argmax(-1)
        between = " " if any(len(name) > 1 for name in self.classes) else ""
        return between.join(self.classes[place] for place in asked.argmax(-1))

    def state(self, at: int = -1) -> FastWeightsState:
        """The state after step `at`, [layers, 1, hidden] and [layers, 1, hidden, hidden]: hidden vectors and A(at).

        `state.scale` and `state.empty` change its memory as a whole, `state.erase` and `state.overwrite` by a key.
        """
        at = self._step("at", at)
        return FastWeightsState(*(
            self._stack([each[at] for each in arrays])
            for arrays in ([layer.hidden for layer in self._forward], [layer.weights for layer in self._forward])
        ))  # fmt: skip

    def term(self, step: int, at: int = -1, layer: int | None = None) -> Term:
        """What A(at) holds of the write of `step`: key, value [layers, 1, hidden], strength [layers, 1].

        strength value key^T, with strength = rate decay^(at-step) of `Hebbian`, decay^(at-step) of the others.
        layer: the strength of other layers is zero; None: all have theirs.
        Raises `UserError` where the step comes after `at`, or the rule's memory is no sum of writes.
        """
        at, step = self._step("at", at), self._step("step", step)
        if step > at:
            raise UserError(
                f"Trace: got step {step}, wanted one up to {at}: the memory after step {at} does not have it"
            )
        layers = self._forward
        if layer not in (None, *range(len(layers))):
            raise UserError(f"Trace: got layer={layer!r}, wanted one from 0 to {len(layers) - 1}, or None: all")
        keys, values, strengths = zip(*(each.term(step, at) for each in layers), strict=True)
        left = np.array([strength * (layer in (None, place)) for place, strength in enumerate(strengths)])
        return Term(self._stack(keys), self._stack(values), self._stack(left))

    def erase(self, step: int, at: int = -1, layer: int | None = None) -> FastWeightsState:
        """The state after `at` without what `step` wrote: A(at) - strength value key^T, in one layer or in all."""
        return self.state(at).erase(*self.term(step, at, layer))

    def overwrite(
        self, step: int, new: int | Array | Tensor, at: int = -1, layer: int | None = None
    ) -> FastWeightsState:
        """The state after `at` as if `step` had written another value under its key: the delta rule.

            A(at) + strength (value' - value) key^T

        new: a step whose hidden vector is written, or that vector, [hidden], or one for each layer, [layers, hidden];
        value' is what the rule stores of it (see `LayerTrace.value_of`). So the key finds the other step's content, as
        old as the one that was there.
        """
        term = self.term(step, at, layer)
        place = self._step("step", step)
        if isinstance(new, int):
            other = self._step("new", new)
            vectors = [each.hidden[other] for each in self._forward]
        else:
            vectors, size = np.asarray(new, dtype=np.float64), [len(self.layers), self.layers[0].hidden.shape[1]]
            if list(vectors.shape) not in (size, size[1:]):
                got = list(vectors.shape)
                raise UserError(f"Trace.overwrite: got a vector {got}, wanted a step, or hidden {size[1:]} or {size}")
            vectors = np.broadcast_to(vectors, size)
        values = [each.value_of(place, np.array(vector)) for each, vector in zip(self._forward, vectors, strict=True)]
        return self.state(at).overwrite(term.key, self._stack(values), term.value, term.strength)

    @property
    def _last(self) -> LayerTrace:
        if not self.layers:
            raise UserError("Trace: got a network that is no FastWeightsRNN, wanted one, such as RNN-LN-FW")
        return self.layers[-1]

    @property
    def _forward(self) -> tuple[LayerTrace, ...]:
        if self._last.name.endswith("reverse"):
            raise UserError("Trace: got a bidirectional network, wanted one direction: its state is not one of a step")
        return self.layers

    def _step(self, name: str, step: int) -> int:
        time = len(self.inputs)
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or not -time <= step < time:
            raise UserError(f"Trace: got {name}={step!r}, wanted a step from 0 to {time - 1}, or from the end, as -1")
        return int(step) % time

    def _stack(self, arrays: Any) -> Tensor:
        """[layers, 1, ...]: of a batch of one."""
        return torch.from_numpy(np.stack(arrays))[:, None].to(self.dtype)


@torch.no_grad()
def trace(model: nn.Module, inputs: Tensor, state: Any = None, decay: float | None = None) -> Trace:
    """All that a network does with one sequence; dropout is left out.

    model: a `SequenceModel`, or a bare `FastWeightsRNN`. inputs: what a call takes, of one sequence without a batch
    axis: [T] symbols, [T, features]. state: what the sequence goes on from, of one sequence; None: nothing.
    decay: of the memory from the first step on, in place of its own.

    Of a network that is no `FastWeightsRNN` `layers` is empty, and `hidden` and `logits` are what there is.
    Raises `UserError` where the sequence does not fit or is empty, or such a network is given a decay.
    """
    if not isinstance(model, SequenceModel | FastWeightsRNN):
        raise UserError(f"trace: got {type(model).__name__}, wanted a SequenceModel or a FastWeightsRNN")
    axes = 1 if isinstance(model, SequenceModel) and model.spec.symbols else 2
    if not isinstance(inputs, Tensor) or inputs.dim() != axes or not inputs.numel():
        got = f"shape {list(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        wanted = "[time] of symbols" if axes == 1 else "[time, features]"
        raise UserError(f"trace: got {got}, wanted one sequence, a tensor {wanted} of at least one step")
    first = next(model.parameters())
    inputs = inputs.to(first.device)
    recurrent = model.recurrent if isinstance(model, SequenceModel) else model
    if not isinstance(recurrent, FastWeightsRNN) or type(recurrent).forward is not FastWeightsRNN.forward:
        assert isinstance(model, SequenceModel)
        if decay is not None:
            raise UserError(f"trace: got decay={decay!r} of a network that is no FastWeightsRNN, wanted none")
        return slow_trace(model, inputs, state, first.dtype)
    check_size(recurrent, len(inputs))
    exact: Any = copy.deepcopy(model).cpu().double().eval()
    rnn: Any = exact.recurrent if isinstance(model, SequenceModel) else exact
    features = exact.look_up(inputs[None].cpu()) if isinstance(model, SequenceModel) else inputs[None].cpu()
    given = as_state(state, "trace, state")
    layers = trace_layers(rnn, features if features.dtype == torch.float64 else features.double(), given, decay)
    hidden = outputs_of(rnn, layers)
    logits = exact.head(hidden).numpy() if isinstance(model, SequenceModel) else None
    return Trace(
        layers,
        inputs.cpu().numpy(),
        hidden.numpy(),
        logits,
        first.dtype,
        classified=logits is None or logits.shape[1] > 1,
    )


def trace_layers(
    rnn: FastWeightsRNN, features: Tensor, state: FastWeightsState | None, decay: float | None
) -> tuple[LayerTrace, ...]:
    rnn._check_state(features, state, [1])
    rnn._project(0, features)  # says what is wrong with it
    found: list[LayerTrace] = []
    for layer in range(rnn.num_layers):
        for place, suffix in enumerate(rnn._suffixes(layer)):
            start = None
            if state is not None:
                index = layer * rnn.num_directions + place
                start = FastWeightsState(state.hidden[index].double().cpu(), state.weights[index].double().cpu())
            name = f"{layer} reverse" if place else str(layer)
            found.append(trace_layer(rnn, suffix, name, features.flip(1) if place else features, start, decay))
        features = outputs_of(rnn, tuple(found))[None]
    return tuple(found)


def outputs_of(rnn: FastWeightsRNN, layers: tuple[LayerTrace, ...]) -> Tensor:
    """[T, directions * H] of the last layer, in the order of the inputs."""
    last = layers[-rnn.num_directions :]
    return torch.cat([torch.from_numpy(each.hidden).flip(0) if place else torch.from_numpy(each.hidden)
                      for place, each in enumerate(last)], dim=1)  # fmt: skip


def slow_trace(model: SequenceModel, inputs: Tensor, state: Any, dtype: torch.dtype) -> Trace:
    """Of a network without fast weights: what the head reads at each step, and says."""
    output = model.recurrent(model.look_up(inputs[None]), *([] if state is None else [state]))[0][0]
    logits = model.head(output).double()
    arrays = (inputs.cpu().numpy(), output.double().cpu().numpy(), logits.cpu().numpy())
    return Trace((), *arrays, dtype, classified=logits.shape[1] > 1)


def check_size(rnn: FastWeightsRNN, time: int) -> None:
    """Raise where the arrays would not fit into memory."""
    units, steps = rnn.hidden_size, rnn.inner_steps
    numbers = time * (units**2 + steps * time) * rnn.num_layers * rnn.num_directions
    memory.check(2 * 8 * numbers, f"a trace of {time:,} steps of {units:,} units")
