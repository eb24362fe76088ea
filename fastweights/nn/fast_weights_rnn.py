import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fastweights.errors import UserError
from fastweights.nn import learned_constants
from fastweights.nn.arguments import check_sizes, look_up
from fastweights.nn.diagnosis import Diagnosis, LayerDiagnosis, look_into
from fastweights.nn.recurrent_layer import (
    LayerState,
    check_floats,
    current_rule,
    describe,
    make_parameters,
    project,
    reset_parameters,
    run,
    run_layer,
    run_symbols,
    slow_weights,
    stream_step,
)
from fastweights.ops import FastWeightsState
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_rnn.call import check
from fastweights.ops.fast_weights_rnn.inspection import attended
from fastweights.ops.past import PastState
from fastweights.ops.state import as_state
from fastweights.rules import Cosine, Rule


class FastWeightsRNN(nn.Module):
    r"""A recurrent network with fast weights, called as `nn.LSTM` is: a pair goes in, and a pair comes out.

        boundary = W h(t) + C x(t+1)
        h_0(t+1) = f(boundary)
        h_s+1(t+1) = f(LN[boundary + read(A(t), h_s(t+1))])      s = 0 .. inner_steps-1;  h(t+1) = h_S(t+1)
        A(t+1) = write(A(t), h(t+1))

    It differs from `nn.RNN` by the inner loop, which lets each step attend to the hidden vectors that went before it.
    `inner_steps=0` is a layer-normed RNN; with `layer_norm=False` too it is a plain one.

    The rule says how A is written and read. By default it is `Cosine`: directions are stored, and the read is at most
    `rate` times as long as the boundary, a strength that is learned. So a network trains at any width and length.
    `rule=Hebbian()` is the paper's literal rule, A(t+1) = decay A(t) + rate h(t+1) h(t+1)^T, read by A(t) h_s(t+1). Its
    read grows with the units and with the steps: its constants fit some fifty units and ten steps.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as in `nn.LSTM`, in this order.
            bias=False: none, neither in the layer norm nor in the boundary.
        rule: the update rule of the memory; its constants start here and stay fixed unless they are learned.
        learned: names of constants of the rule that become parameters, one a layer and direction, kept in their range;
            `constants()` tells their values. None: those that the rule learns by itself, "rate" of `Cosine` alone.
        inner_steps: iterations of the inner loop.
        layer_norm: normalise over the units of each sample before f (gain and bias learned). Without it the boundary
            has a learned bias instead. No gradient comes back through the layer norm of a vector that is exactly zero
            (padding in front), where its slope is 316.
        nonlinearity: f, "relu" or "tanh".
        backend: how the sequence is run; `ran` names what ran last.

    Shapes:
        input: [time, batch, input_size], or [batch, time, input_size] with `batch_first`, or [time, input_size]
            unbatched, or a `PackedSequence`.
        state: a pair (hidden, weights), of [num_layers * directions, batch, hidden_size] and [..., hidden_size,
            hidden_size], the batch axis only where the input has one; None: zeros. Or a `PastState`, of [num_layers *
            directions, batch, steps, hidden_size]; with no steps it is empty.
        Returns `output` (directions * hidden_size features) and the final state, a `FastWeightsState`, or a `PastState`
        where one was given. Where `nn.GRU` stood, `state.hidden` is h_n.
        need_state: False returns `(output, None)`. The weights of the state are batch * hidden_size^2 numbers, which
            are not formed then: for training on whole sequences, say, when nobody reads them.

    Parameters of layer k (and `..._reverse`): weight_ih_lk [hidden, input], uniform in +-1/sqrt(hidden); weight_hh_lk
    [hidden, hidden], 0.05 I; gain_lk, bias_lk [hidden], one and zero; and decay_raw_lk, rate_raw_lk [1] where the
    constants are learned.

    Raises ValueError or TypeError where an argument does not fit, naming what was got and what was wanted.
    Paper: Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258.
    """

    ran: str | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rule: Rule = Cosine(decay=0.92, rate=1.0),  # noqa: B008 - frozen
        learned: Sequence[str] | None = None,
        inner_steps: int = 1,
        layer_norm: bool = True,
        nonlinearity: str = "relu",
        backend: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0.0 <= dropout <= 1.0:
            raise ValueError(f"FastWeightsRNN: got dropout={dropout!r}, wanted a number in [0, 1]")
        if dropout > 0 and num_layers == 1:
            warnings.warn("FastWeightsRNN: dropout acts between layers, and num_layers is 1", stacklevel=2)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, float(dropout), bidirectional
        self.rule, self.learned, self.inner_steps = (
            rule,
            learned_constants.check_learned(rule, learned, inner_steps),
            inner_steps,
        )
        self.layer_norm, self.nonlinearity, self.backend = layer_norm, nonlinearity, backend
        self.has_bias = bool(bias)
        self._looked_at = hasattr(rule, "bound")  # its read cannot drown the input
        options = {"device": device, "dtype": dtype}
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden_size * self.num_directions
            for suffix in self._suffixes(layer):
                make_parameters(self, suffix, size, options)
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.num_directions]

    def reset_parameters(self) -> None:
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                reset_parameters(self, suffix)

    def flatten_parameters(self) -> None:
        """Nothing to do: here so that code written for `nn.GRU` may call it."""

    def forward(
        self,
        input: Tensor | PackedSequence,
        state: tuple[Tensor, Tensor] | PastState | None = None,
        need_state: bool = True,
        *,
        hx: tuple[Tensor, Tensor] | PastState | None = None,
    ) -> tuple[Any, Any]:
        given: Any = state if hx is None else hx  # the name that nn.LSTM has for it
        if not isinstance(given, PastState):
            given = as_state(given, "FastWeightsRNN, state")
        if isinstance(input, PackedSequence):
            padded, lengths = pad_packed_sequence(input, batch_first=True)
            self._check_state(padded, given, [len(lengths)])
            output, final = self._run(padded, given, lengths, need_state)
            return repack(output, lengths, input), final
        if not isinstance(input, Tensor) or input.dim() not in (2, 3):
            got = f"shape {list(input.shape)}" if isinstance(input, Tensor) else type(input).__name__
            raise UserError(f"input: got {got}, wanted 2 axes (unbatched), 3 axes, or a PackedSequence")
        if not (torch.compiler.is_compiling() or torch.is_grad_enabled() or isinstance(given, PastState)):
            streamed = self._stream(input, given)
            if streamed is not None:
                hidden = streamed.hidden[-1:].clone()  # the output may be changed in place, the state not with it
                return (hidden.transpose(0, 1) if self.batch_first else hidden), streamed if need_state else None
        self._check_state(input, given, [] if input.dim() == 2 else [input.shape[0 if self.batch_first else 1]])
        if input.dim() == 2:
            lifted = None if given is None else given.map(lambda tensor: tensor.unsqueeze(1))
            output, final = self._run(input[None], lifted, None, need_state)
            return output[0], None if final is None else final.map(lambda tensor: tensor[:, 0])
        inputs = input if self.batch_first else input.transpose(0, 1)
        if not self._looked_at and self.training and torch.is_grad_enabled() and limits.runs(input.dtype):
            self._look_at(input)
        output, final = self._run(inputs, given, None, need_state)
        return (output if self.batch_first else output.transpose(0, 1)), final

    def _look_at(self, input: Tensor) -> None:
        """Warn, once, where the memory drowns the input as training begins: no loss would say so."""
        self._looked_at = True
        few = input[:4, :20] if self.batch_first else input[:20, :4]
        if few.numel() and few.shape[-1] == self.input_size and (found := self.diagnose(few.detach())).drowned:
            warnings.warn(f"FastWeightsRNN: {found.advice} `diagnose` shows more.", stacklevel=5)

    def _check_state(self, input: Tensor, state: LayerState, batch: list[int]) -> None:
        """Raise unless the state goes with the input as it was given, and not as it is seen further in."""
        if state is None:
            return
        leading, units = [self.num_layers * self.num_directions, *batch], self.hidden_size
        if isinstance(state, PastState):
            shapes: Any = ([*leading, *state.past.shape[-2:-1], units],)
        else:
            shapes = ([*leading, units], [*leading, units, units])
        for name, tensor, shape in zip(state._fields, state, shapes, strict=True):
            if list(tensor.shape) != shape:
                raise UserError(
                    f"state: got {name} {list(tensor.shape)}, wanted {shape} to go with an input {list(input.shape)}"
                )

    def _stream(self, input: Tensor, state: FastWeightsState | None) -> FastWeightsState | None:
        """One step of a network of one direction, a compiled call a layer; None where it is none, or cannot be."""
        steps, layers = 1 if self.batch_first else 0, self.num_layers
        if input.dim() != 3 or input.shape[steps] != 1 or input.shape[2] != self.input_size or self.bidirectional:
            return None
        if self.training and self.dropout > 0:
            return None
        if state is None:
            firsts: Any = [None] * layers
        elif state[0].dim() == 3 and state[1].dim() == 4 and state[0].shape[0] == state[1].shape[0] == layers:
            firsts = map(FastWeightsState, state[0].unbind(), state[1].unbind())
        else:
            return None
        inputs, made = input.select(steps, 0), []
        for layer, first in enumerate(firsts):
            streamed = stream_step(self, f"_l{layer}", made[-1].hidden if made else inputs, first)
            if streamed is None:
                return None
            made.append(streamed)
        return stack(made)

    def last_of_symbols(self, symbols: Tensor, features: Tensor) -> tuple[Tensor, str | None]:
        """`self(features[symbols])[0][:, -1]` with batch_first, [batch, directions * hidden], and what ran.

        symbols: [batch, time] integers; features: [number of symbols, input_size]. Each symbol is projected once. On a
        CPU in one call, which forms neither the inputs of all steps nor the other outputs' gradients.
        """
        if self.num_layers * self.num_directions == 1 and self.backend in ("auto", "cpu"):
            last = run_symbols(self, "_l0", symbols, features)
            if last is not None:
                return last, "cpu"
        projected = [look_up(table, symbols) for table in self._project(0, features)]
        outputs, _ = self._run(None, None, None, need_state=False, projected=projected)
        return outputs[:, -1], self.ran

    @torch.no_grad()
    def attention(self, input: Tensor, layer: int = 0, reverse: bool = False) -> Tensor:
        """What each step of a layer attended to, [batch, time, time], for `input` laid out as in a call, of 3 axes.

        Row t holds rate decay^(t-1-tau) <h(tau), query(t)> for each earlier step tau: the read of the fast weights,
        written as attention over the past (equation 4 of the paper). Of the rule `Cosine` it holds what the bounded
        read gives to each direction. Its numbers may be negative, and their sum is not 1. reverse: of the layer's other
        direction, whose steps are counted from the end. Dropout is left out. Raises ValueError where there is no such
        layer or direction, `UnsupportedBackend` where the rule has no such form.
        """
        if not 0 <= layer < self.num_layers or (reverse and not self.bidirectional):
            wanted = f"0 to {self.num_layers - 1}{'' if self.bidirectional else ', which have one direction'}"
            raise UserError(f"attention: got layer={layer!r}, reverse={reverse!r}, wanted a layer from {wanted}")
        if not isinstance(input, Tensor) or input.dim() != 3:
            got = f"shape {list(input.shape)}" if isinstance(input, Tensor) else type(input).__name__
            raise UserError(f"attention: got {got}, wanted an input of 3 axes, as SequenceModel.look_up makes it")
        inputs = input if self.batch_first else input.transpose(0, 1)
        for below in range(layer):
            directions = [self._layer(below, suffix, inputs)[1] for suffix in self._suffixes(below)]
            inputs = torch.cat([each.flip(1) if place else each for place, each in enumerate(directions)], dim=-1)
        suffix = self._suffixes(layer)[reverse]
        projected, outputs = self._layer(layer, suffix, inputs)
        slow, rule = slow_weights(self, suffix), current_rule(self, suffix)
        return attended(check(projected, *slow, None, rule, self.inner_steps, self.nonlinearity, None), outputs)

    def _layer(self, layer: int, suffix: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The projected inputs and the outputs of one layer and direction, in its own order of steps."""
        backwards = suffix.endswith("_reverse")
        projected = self._project(layer, inputs.flip(1) if backwards else inputs)[backwards]
        return projected, run(self, suffix, projected, None, None, need_state=False)[0]

    @torch.no_grad()
    def diagnose(self, input: Tensor) -> Diagnosis:
        """What the memory does to `input`, which is laid out as in a call, [.., .., input_size], of at least one step.

        By layer, direction and step: the read over the boundary, the norm of A, how many steps are attended to, how
        alike the outputs of different inputs are; and `advice`, one sentence. `print` shows a table. Dropout is
        left out. Raises ValueError where the input does not fit.
        """
        if not isinstance(input, Tensor) or input.dim() not in (2, 3) or not input.numel():
            got = f"shape {list(input.shape)}" if isinstance(input, Tensor) else type(input).__name__
            raise UserError(f"diagnose: got {got}, wanted an input of 2 axes (unbatched) or 3 with at least one step")
        inputs = input[None] if input.dim() == 2 else input if self.batch_first else input.transpose(0, 1)
        self._project(0, inputs)  # says what is wrong with it
        found: list[LayerDiagnosis] = []
        for layer in range(self.num_layers):
            directions = []
            for suffix in self._suffixes(layer):
                backwards = suffix.endswith("_reverse")
                name = f"{layer}{' reverse' if backwards else ''}"
                outputs, seen = look_into(self, suffix, name, inputs.flip(1) if backwards else inputs)
                directions.append(outputs.flip(1) if backwards else outputs)
                found.append(seen)
            inputs = torch.cat(directions, dim=-1)
        return Diagnosis(tuple(found))

    def _project(self, layer: int, inputs: Tensor) -> list[Tensor]:
        """C x(t), bias included, for each direction."""
        return [self._project_one(suffix, inputs) for suffix in self._suffixes(layer)]

    def _project_one(self, suffix: str, inputs: Tensor) -> Tensor:
        weight = getattr(self, f"weight_ih{suffix}")
        if weight.dim() != 2:
            raise UserError(f"weight_ih{suffix}: got shape {list(weight.shape)}, wanted [hidden_size, input_size]")
        check_floats(inputs)
        if inputs.shape[-1] != weight.shape[1]:
            raise ValueError(f"input: got {inputs.shape[-1]} features a step, wanted input_size={weight.shape[1]}")
        return project(self, suffix, inputs)

    def _run(
        self,
        inputs: Any,
        state: LayerState,
        lengths: Tensor | None,
        need_state: bool,
        projected: list[Tensor] | None = None,
    ) -> tuple[Tensor, Any]:
        """All layers, over the inputs [batch, time, input_size] or, for each direction, over C x of the first layer."""
        places = self.num_layers * self.num_directions
        first = [None] * places if state is None else list(map(type(state), *state))
        finals: list[Any] = []
        output = inputs
        for layer in range(self.num_layers):
            if layer > 0:
                projected, inputs = None, functional.dropout(output, self.dropout, self.training)
            directions = []
            for place, suffix in enumerate(self._suffixes(layer)):
                start = first[layer * self.num_directions + place]
                ready = None if projected is None else projected[place]
                outputs, final = self._run_one(suffix, inputs, start, lengths, need_state, ready)
                directions.append(outputs)
                if final is not None:
                    finals.append(final)
            output = directions[0] if len(directions) == 1 else torch.cat(directions, dim=-1)
        return output, stack(finals) if need_state else None

    def _run_one(
        self, suffix: str, inputs: Any, state: Any, lengths: Tensor | None, need_state: bool, projected: Tensor | None
    ) -> tuple[Tensor, LayerState]:
        """One layer and direction, its outputs in the order of the inputs."""
        backwards = suffix.endswith("_reverse")
        given = inputs if projected is None else projected
        given = reverse(given, lengths) if backwards else given
        done = run_layer(self, suffix, given, state, lengths, need_state) if projected is None else None
        if done is None:
            given = self._project_one(suffix, given) if projected is None else given
            done = run(self, suffix, given, state, lengths, need_state)
        return (reverse(done[0], lengths), done[1]) if backwards else done

    @torch.no_grad()
    def constants(self) -> dict[str, list[float]]:
        """The constants of the rule as they stand now, one a layer and direction, in the order of the state."""
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        rules = [current_rule(self, suffix) for suffix in suffixes]
        return {name: [float(getattr(rule, name)) for rule in rules] for name in getattr(self.rule, "RANGES", {})}

    def extra_repr(self) -> str:
        return describe(self)


def stack(states: list[Any]) -> Any:
    """One state that leads with layers and directions."""
    if len(states) == 1:
        return states[0].map(lambda tensor: tensor.unsqueeze(0))
    return type(states[0])(*(torch.stack(each) for each in zip(*states, strict=True)))


def reverse(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """[batch, time, features] backwards in time, each within its own length; what lies past the end stays."""
    if lengths is None:
        return sequences.flip(1)
    steps = torch.arange(sequences.shape[1], device=sequences.device).expand(sequences.shape[:2])
    ends = lengths.to(sequences.device)[:, None]
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    return sequences.gather(1, index[..., None].expand_as(sequences))


def repack(output: Tensor, lengths: Tensor, like: PackedSequence) -> PackedSequence:
    """`output`, [batch, time, features], packed in the very order of `like`."""
    if like.sorted_indices is not None:
        output, lengths = output[like.sorted_indices], lengths[like.sorted_indices.cpu()]
    data = pack_padded_sequence(output, lengths, batch_first=True).data
    return PackedSequence(data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)
