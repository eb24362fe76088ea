from typing import Any

import torch
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.nn.decoder_state import DecoderState
from fastweights.nn.encoder_decoder import EncoderDecoder
from fastweights.nn.memories import MemoryState
from fastweights.ops.cpu import limits
from fastweights.ops.decoder_step import Weights, step


class CompiledDecoder(nn.Module):
    """An `EncoderDecoder` whose `step` is one compiled call: for streams that come one or a few at a time, on a CPU.

    model: a decoder of `nn.GRU` and a memory of this library. Its weights are copied as they are now: make a new one
    after training went on. It is called as the model is by `fastweights.decoding`; `encode` is the model's own.
    There is no gradient and no dropout.

    Raises UserError where there is no compiled step for the model.
    """

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        reason = why_not(model)
        if reason is not None:
            raise UserError(f"CompiledDecoder: {reason}")
        self.model, self.begin, self.end = model, model.begin, model.end
        self._reading, self._weights = model.memory.reading, weights_of(model)

    @torch.no_grad()
    def encode(self, source: Tensor, lengths: Tensor | None = None) -> DecoderState:
        """What `step` begins with."""
        return self.prepared(self.model.encode(source, lengths))

    @torch.no_grad()
    def prepared(self, state: DecoderState) -> DecoderState:
        """The model's state as `step` reads it."""
        held = self.model.memory.prepared(state.memory)
        return DecoderState(state.network.contiguous(), MemoryState(tensor.contiguous() for tensor in held))

    @torch.no_grad()
    def step(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One symbol of every stream, [batch]: the answers [batch, outputs], and the state."""
        answers, hidden = step(self._weights, self._reading, symbols.contiguous(), state.network, state.memory)
        return answers, DecoderState(hidden, state.memory)

    def attended(self, source: Tensor, target_in: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """The model's own."""
        return self.model.attended(source, target_in, lengths)


def why_not(model: Any) -> str | None:
    """Why there is no compiled step for the model, or None."""
    if not isinstance(model, EncoderDecoder) or not isinstance(model.decoder, nn.GRU):
        kind = type(getattr(model, "decoder", model)).__name__
        return f"got {kind}, wanted an EncoderDecoder whose decoder is an nn.GRU"
    if not hasattr(model.memory, "reading"):
        return f"got the memory {type(model.memory).__name__}, wanted one of fastweights.nn.memories"
    return limits.why_not(model.decoder.all_weights[0][1])


def weights_of(model: Any) -> Weights:
    """A copy, laid out as the kernel reads it."""
    decoder, memory, units = model.decoder, model.memory, model.decoder.hidden_size
    (into, recurrent, bias, inside), mix = decoder.all_weights[0], model.mix
    reset_and_update = torch.cat([inside[: 2 * units], torch.zeros_like(inside[2 * units :])])
    table = nn.functional.linear(model.target.weight * model.target_scale, into, bias + reset_and_update)
    query, norm = getattr(memory, "query", None), getattr(memory, "norm", None)
    from_hidden, from_memory = mix.weight[:, :units], mix.weight[:, units:]
    tensors: tuple[Tensor | None, ...] = (
        table,
        recurrent,
        inside[2 * units :],
        from_hidden if query is None else torch.cat([query.weight, from_hidden]),
        mix.bias if query is None else torch.cat([query.bias, mix.bias]),
        from_memory,
        model.head.weight,
        model.head.bias,
        None if norm is None else norm.weight,
        None if norm is None else norm.bias,
        memory.score.weight[0] if memory.reading.kind == "additive" else None,
    )
    layout: Any = {"memory_format": torch.contiguous_format}
    return Weights(*(None if each is None else each.detach().clone(**layout) for each in tensors))  # pyright: ignore[reportArgumentType]
