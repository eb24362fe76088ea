from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UnsupportedBackend, UserError, near, shown
from fastweights.nn.arguments import check_sizes, check_symbols
from fastweights.nn.decoder_state import DecoderState
from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.nn.memories.memory import valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.nn.ragged import follow, followers, outputs_of, read_both_ways, state_after
from fastweights.nn.recurrent_layer import STREAM_BATCH
from fastweights.nn.sequence_model import unit_embedding_scale
from fastweights.ops import FastWeightsState, PastState
from fastweights.rules import Hebbian, Rule

FRONTS: dict[str, tuple[Callable[..., nn.Module], int]] = {"gru": (nn.GRU, 64), "fast-weights": (FastWeightsRNN, 96)}
UNITS = {
    None: (320, 224),
    "gru": (250, 184),
    "fast-weights": (264, 192),
}  # behind a front: of one network, of each of two
RULE = Hebbian(decay=0.95, rate=0.05)  # its read begins loud, and training turns it down: nobody is warned of it


class Transducer(nn.Module):
    r"""Sequence to sequence by one recurrent network: it reads the source, a beginning, then the answer so far.

        s = x(1) .. x(T), begin, y(1) .. y(U-1);    h(t) = recurrent(scale E s(t), h(t-1))
        answer(u) = W_o relu(W_m h(T+u))

    It differs from `EncoderDecoder` in that nothing is handed over: hidden vector and fast weights pass on because the
    network never stops. The answer follows the last symbol of its source without a gap, so that padding decays nothing.

    Args:
        recurrent: any network called as `nn.LSTM(batch_first=True)` is, from `embedding_size` to `hidden_size` units.
        inputs: symbols of the source. outputs: numbers at an answer, the last of which is the end of it. The answer
            begins with the symbol `outputs`.
        answering: a `FastWeightsRNN` that goes on where `recurrent`, one of the same size, has read the source. It has
            weights of its own, and takes over the hidden vectors, and with them the memory, as a `PastState`. None:
            the same network goes on.
        front: a network that reads the source both ways before, of `front_size` features: its outputs, projected to
            `embedding_size`, stand in place of the symbols. None: there is none.
        input_scale, front_scale: of the embedded symbols, before the network and before the front. None: such that
            C x of `FastWeightsRNN` has unit variance, 1 for others.
        dropout: of symbols and of what goes into the last layer.

    `encode`, then `step` by step, gives what a call gives at once.
    """

    def __init__(
        self,
        recurrent: Any,
        inputs: int,
        outputs: int,
        hidden_size: int,
        *,
        answering: FastWeightsRNN | None = None,
        embedding_size: int = 32,
        front: nn.Module | None = None,
        front_size: int = 0,
        head_size: int = 80,
        input_scale: float | None = None,
        front_scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {"hidden_size": hidden_size, "embedding_size": embedding_size, "head_size": head_size}
        check_sizes("Transducer", inputs=inputs, outputs=outputs, **sizes)
        for network in (recurrent, front):
            if getattr(network, "batch_first", True) is not True:
                kind = type(network).__name__
                raise UserError(f"Transducer: got {kind} with batch_first=False, wanted one with batch_first=True")
        if getattr(recurrent, "bidirectional", False):
            raise UserError(
                f"Transducer: got a bidirectional {type(recurrent).__name__}, wanted one that reads forwards"
            )
        if answering is not None and (sizes_of(answering) is None or sizes_of(answering) != sizes_of(recurrent)):
            raise UserError(
                "Transducer: got answering, wanted recurrent and answering to be FastWeightsRNN of one size"
            )
        self.inputs, self.outputs, self.dropout = inputs, outputs, dropout
        self.source, self.target = nn.Embedding(inputs, embedding_size), nn.Embedding(outputs + 1, embedding_size)
        self.front, self.recurrent, self.answering = front, recurrent, answering
        self.enter = None if front is None else nn.Linear(front_size, embedding_size)
        self.mix, self.head = nn.Linear(hidden_size, head_size), nn.Linear(head_size, outputs)
        self.input_scale = _scale(recurrent, embedding_size) if input_scale is None else input_scale
        self.front_scale = _scale(front, embedding_size) if front_scale is None else front_scale
        for network in (front, recurrent, answering):
            if isinstance(network, FastWeightsRNN):
                network._looked_at |= network.rule == RULE

    @property
    def begin(self) -> int:
        """The symbol that an answer begins with."""
        return self.outputs

    @property
    def end(self) -> int:
        """The symbol that ends an answer."""
        return self.outputs - 1

    @property
    def backend(self) -> str:
        """What ran the recurrence last."""
        return getattr(self.recurrent, "ran", None) or "torch"

    def forward(self, source: Tensor, target_in: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers [batch, steps, outputs] after source [batch, time], of which `lengths` steps count, and target_in
        [batch, steps]: `begin`, then the symbols of the answer."""
        if self.answering is not None:
            past = self.encode(source, lengths, factored=True).network
            check_symbols("target_in", target_in, self.outputs + 1, len(source))
            return self._answer(outputs_of(self.answering, self._embed(target_in), past))
        read = self._read(source, lengths)
        check_symbols("target_in", target_in, self.outputs + 1, len(source))
        steps = follow(read, self._embed(target_in), lengths)
        return self._answer(followers(outputs_of(self.recurrent, steps), target_in.shape[1], lengths))

    def encode(self, source: Tensor, lengths: Tensor | None = None, factored: bool | None = None) -> DecoderState:
        """What `step` begins with.

        factored: hold the memory of a `FastWeightsRNN` as the hidden vectors so far, a `PastState`, which takes steps *
        hidden numbers in place of hidden^2. None: for large batches of short sources, where that is faster.
        """
        inputs, network = self._read(source, lengths), self.recurrent
        if factored is None:
            short = 2 * source.shape[1] <= getattr(network, "hidden_size", 0)
            factored = isinstance(network, FastWeightsRNN) and short and len(source) > STREAM_BATCH
        first = (
            PastState(inputs.new_zeros(network.num_layers, len(source), 0, network.hidden_size)) if factored else None
        )
        return DecoderState(state_after(network, inputs, lengths, first), MemoryState())

    def step(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One symbol of every stream, [batch]: the answers [batch, outputs], and the state."""
        goes_on = self.recurrent if self.answering is None else self.answering
        hidden, network = goes_on(self._embed(symbols[:, None]), state.network)
        return self._answer(hidden)[:, 0], DecoderState(network, state.memory)

    def emptied(self, state: DecoderState) -> DecoderState:
        """The state with nothing in its fast weights; those of networks without them are refused."""
        if not isinstance(state.network, FastWeightsState | PastState):
            raise UserError(f"emptied: got a state of {type(self.recurrent).__name__}, wanted one with fast weights")
        hidden = state.network.hidden
        return DecoderState(FastWeightsState(hidden, hidden.new_zeros(*hidden.shape, hidden.shape[-1])), state.memory)

    def attended(self, source: Tensor, target_in: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """[batch, steps, time]: what each step of the answer attends to in the source; None for networks that have no
        `attention`, as `FastWeightsRNN` has with most rules, and where two of them share the work."""
        attention: Any = getattr(self.recurrent, "attention", None)
        if attention is None or self.answering is not None:
            return None
        try:
            seen = attention(follow(self._read(source, lengths), self._embed(target_in), lengths))
        except UnsupportedBackend:  # of such a rule
            return None
        seen = followers(seen, target_in.shape[1], lengths)[..., : source.shape[1]]
        valid = valid_steps(source, lengths)
        return seen if valid is None else seen * valid[:, None]

    def _read(self, source: Tensor, lengths: Tensor | None) -> Tensor:
        check_symbols("source", source, self.inputs)
        embedded = functional.dropout(self.source(source), self.dropout, self.training)
        if self.front is not None and self.enter is not None:
            embedded = self.enter(read_both_ways(self.front, embedded * self.front_scale, lengths))
        return embedded * self.input_scale

    def _embed(self, symbols: Tensor) -> Tensor:
        return functional.dropout(self.target(symbols), self.dropout, self.training) * self.input_scale

    def _answer(self, hidden: Tensor) -> Tensor:
        return self.head(functional.dropout(functional.relu(self.mix(hidden)), self.dropout, self.training))


def sizes_of(network: Any) -> tuple[int, int] | None:
    """Layers and units of a `FastWeightsRNN`."""
    return (network.num_layers, network.hidden_size) if isinstance(network, FastWeightsRNN) else None


def _scale(network: Any, embedding_size: int) -> float:
    return unit_embedding_scale(network.hidden_size, embedding_size) if isinstance(network, FastWeightsRNN) else 1.0


def FastWeightsTransducer(
    inputs: int,
    outputs: int,
    hidden_size: int | None = None,
    *,
    front: str | None = None,
    own_weights: bool = False,
    rule: Rule = RULE,
    learned: Sequence[str] | None = ("decay", "rate"),
    embedding_size: int = 32,
    **options: Any,
) -> Transducer:
    """A `Transducer` whose network is a `FastWeightsRNN`: the memory of Ba et al. 2016 alone carries the source.

    front: None, "gru" or "fast-weights": a network that reads the source both ways before.
    own_weights: another network than the one that read the source goes on with the answer, and takes the memory over.
    hidden_size: None for the size that makes 133 to 144 thousand parameters with 27 letters and 40 phones.
    rule, learned: of the network that is never stopped, as in `FastWeightsRNN`. The paper's rate of 0.5 learns nothing
        for some hundred updates.
    options: of `Transducer`.

    Paper: Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258.
    """
    if front is not None and front not in FRONTS:
        raise UserError(f"front: got {shown(front)}, wanted None, {' or '.join(FRONTS)}{near(front, FRONTS)}")
    made, size = (None, 0) if front is None else FRONTS[front]
    before = None if made is None else made(embedding_size, size, batch_first=True, bidirectional=True)
    units = UNITS[front][own_weights] if hidden_size is None else hidden_size
    networks = [
        FastWeightsRNN(embedding_size, units, batch_first=True, rule=rule, learned=learned)
        for _ in range(1 + own_weights)
    ]
    parts: Any = {"answering": networks[1] if own_weights else None, "front": before, "front_size": 2 * size}
    return Transducer(networks[0], inputs, outputs, units, embedding_size=embedding_size, **parts, **options)
