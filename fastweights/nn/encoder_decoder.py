from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UserError, near, shown
from fastweights.nn.arguments import check_sizes, check_symbols
from fastweights.nn.decoder_state import DecoderState
from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.nn.memories import attended, make_memory
from fastweights.nn.ragged import ends_of, outputs_of, read_both_ways
from fastweights.nn.sequence_model import unit_embedding_scale
from fastweights.ops import FastWeightsState

BACKBONES: dict[
    str, tuple[Callable[..., nn.Module], int, int]
] = {  # units of a direction of the encoder, of the decoder
    "gru": (nn.GRU, 64, 112),
    "lstm": (nn.LSTM, 56, 96),
    "fast-weights": (FastWeightsRNN, 88, 168),
}


class EncoderDecoder(nn.Module):
    r"""Sequence to sequence: an encoder reads both ways, a decoder writes, and a memory stands between them.

        e(t) = encoder(E x(t));  memory = write(e(1) .. e(T))
        d(u) = decoder(E' y(u-1), d(u-1)),  d(0) = tanh(W_0 [forward e(T); backward e(1)])
        answer(u) = W_o relu(W_m [d(u); read(memory, d(u))])

    What is read goes into the answer, not into the decoder's next input: so all steps of a known answer run at once.

    Args:
        inputs: symbols of the source. outputs: numbers at an answer, the last of which is the end of it. The decoder
            begins with the symbol `outputs`.
        memory: a name of `fastweights.nn.memories` ("delta", "attention", "last-state" ...), a user's
            `package.module:Class`, a class or function of (states_size, queries_size), or a module that fits.
        backbone: "gru" (`nn.GRU`), "lstm" (`nn.LSTM`) or "fast-weights" (`FastWeightsRNN`), for encoder and decoder.
        embedding_size, encoder_size (a direction), decoder_size, head_size: units. None: such that the model has 133 to
            144 thousand parameters with 27 letters and 40 phones.
        dropout: of symbols and of what goes into the last layer.

    `encode`, then `step` by step, gives what a call gives at once.
    Raises UserError where a memory or a backbone is unknown, or does not fit.
    Paper: Bahdanau, Cho, Bengio 2014, https://arxiv.org/abs/1409.0473, for the three parts.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        memory: str | Callable[[int, int], nn.Module] = "delta",
        backbone: str = "gru",
        embedding_size: int = 32,
        encoder_size: int | None = None,
        decoder_size: int | None = None,
        head_size: int = 80,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise UserError(
                f"backbone: got {shown(backbone)}, wanted one of {', '.join(BACKBONES)}{near(backbone, BACKBONES)}"
            )
        network, *usual = BACKBONES[backbone]
        encoder_size = usual[0] if encoder_size is None else encoder_size
        decoder_size = usual[1] if decoder_size is None else decoder_size
        sizes = {"embedding_size": embedding_size, "encoder_size": encoder_size, "decoder_size": decoder_size}
        check_sizes("EncoderDecoder", inputs=inputs, outputs=outputs, head_size=head_size, **sizes)
        fast = backbone == "fast-weights"
        self.inputs, self.outputs, self.dropout = inputs, outputs, dropout
        self.source, self.target = nn.Embedding(inputs, embedding_size), nn.Embedding(outputs + 1, embedding_size)
        self.encoder = network(embedding_size, encoder_size, batch_first=True, bidirectional=True)
        self.begin_with = nn.Linear(2 * encoder_size, decoder_size)
        self.decoder = network(embedding_size, decoder_size, batch_first=True)
        self.memory = make_memory(memory, 2 * encoder_size, decoder_size)
        self.mix = nn.Linear(decoder_size + self.memory.value_size, head_size)
        self.head = nn.Linear(head_size, outputs)
        self.source_scale = unit_embedding_scale(encoder_size, embedding_size) if fast else 1.0
        self.target_scale = unit_embedding_scale(decoder_size, embedding_size) if fast else 1.0

    @property
    def begin(self) -> int:
        """The symbol that the decoder begins with."""
        return self.outputs

    @property
    def end(self) -> int:
        """The symbol that ends an answer."""
        return self.outputs - 1

    @property
    def backend(self) -> str:
        """What ran the recurrence last."""
        return getattr(self.decoder, "ran", None) or "torch"

    def forward(self, source: Tensor, target_in: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers [batch, steps, outputs] after source [batch, time], of which `lengths` steps count, and target_in
        [batch, steps]: `begin`, then the symbols of the answer."""
        state = self.encode(source, lengths)
        check_symbols("target_in", target_in, self.outputs + 1, len(source))
        return self._answer(outputs_of(self.decoder, self._embed(target_in), state.network), state)

    def encode(self, source: Tensor, lengths: Tensor | None = None) -> DecoderState:
        """What `step` begins with."""
        return self._begun(self._states(source, lengths), lengths)

    def step(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One symbol of every stream, [batch]: the answers [batch, outputs], and the state."""
        hidden, network = self.decoder(self._embed(symbols[:, None]), state.network)
        return self._answer(hidden, state)[:, 0], DecoderState(network, state.memory)

    def emptied(self, state: DecoderState) -> DecoderState:
        """The state with nothing in its memory."""
        nothing = self.head.weight.new_zeros(state.memory[0].shape[0], 0, self.begin_with.in_features)
        return DecoderState(state.network, self.memory.write(nothing))

    def attended(self, source: Tensor, target_in: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """[batch, steps, time]: the weight of each symbol of the source in each read, exactly; None where the memory is
        no sum over them. Each stands for its encoder's state, which has seen its neighbours."""
        states = self._states(source, lengths)
        state = self._begun(states, lengths)
        hidden = outputs_of(self.decoder, self._embed(target_in), state.network)
        return attended(self.memory, states, hidden, lengths)

    def _states(self, source: Tensor, lengths: Tensor | None) -> Tensor:
        check_symbols("source", source, self.inputs)
        embedded = functional.dropout(self.source(source), self.dropout, self.training)
        return read_both_ways(self.encoder, embedded * self.source_scale, lengths)

    def _begun(self, states: Tensor, lengths: Tensor | None) -> DecoderState:
        first = torch.tanh(self.begin_with(ends_of(states, lengths)))[None]
        network: Any = first
        if isinstance(self.decoder, FastWeightsRNN):
            network = FastWeightsState(first, first.new_zeros(*first.shape, first.shape[-1]))
        elif isinstance(self.decoder, nn.LSTM):
            network = (first, torch.zeros_like(first))
        return DecoderState(network, self.memory.write(states, lengths))

    def _embed(self, symbols: Tensor) -> Tensor:
        return functional.dropout(self.target(symbols), self.dropout, self.training) * self.target_scale

    def _answer(self, hidden: Tensor, state: DecoderState) -> Tensor:
        both = torch.cat([hidden, self.memory.read(state.memory, hidden)], dim=-1)
        return self.head(functional.dropout(functional.relu(self.mix(both)), self.dropout, self.training))
