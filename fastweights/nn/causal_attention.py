from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from fastweights.errors import UserError
from fastweights.nn.arguments import batched, check_like, check_sizes
from fastweights.nn.layer_state import state_bytes
from fastweights.nn.short_convolution import ShortConvolution, check_convolution, check_recent
from fastweights.ops.fast_weights_scan.call import check_resets
from fastweights.ops.lengths import check_lengths, inside


class AttentionState(NamedTuple):
    """All keys and values so far, which is why it grows with every token.

    keys, values: [batch, heads, time, key]. seen: [batch, time], false where a sequence was over, and before
    a reset; None: all of them.
    recent: the last inputs of the short convolution; None where there is none.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor | None
    recent: Tensor | None

    @property
    def bytes(self) -> int:
        """Of all tensors together."""
        return state_bytes(self)


torch.serialization.add_safe_globals([AttentionState])
pytree._register_namedtuple(AttentionState, serialized_type_name="fastweights.AttentionState")


class CausalAttention(nn.Module):
    r"""Softmax attention over all tokens so far, built and called as `FastWeightsLayer` is.

        q, k, v = silu(convolution(W x));   output = W_o softmax(q k^T / sqrt(key)) v

    It has no embedding of places: of their order it knows what the short convolution tells. Its state holds every token
    and grows, where that of a fast-weights layer stays as it is. resets: [batch, time],
    true where a sample begins anew: a token sees nothing before the last of them.

    Paper: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        size: int,
        heads: int = 1,
        *,
        convolution: int = 4,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("CausalAttention", size=size, heads=heads)
        if size % heads:
            raise UserError(f"CausalAttention: got size={size} and heads={heads}, wanted heads that divide the size")
        check_convolution("CausalAttention", convolution)
        options: Any = {"device": device, "dtype": dtype}
        self.size, self.heads = size, heads
        self.projection = nn.Linear(size, 3 * size, bias=False, **options)
        self.convolution = ShortConvolution(3 * size, convolution, **options) if convolution else None
        self.output = nn.Linear(size, size, bias=False, **options)

    def forward(
        self,
        input: Tensor,
        state: AttentionState | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, AttentionState]:
        x = batched("CausalAttention", input, self.size, lengths=True)
        check_like("CausalAttention", x, self.projection.weight)
        batch, time, _ = x.shape
        lengths = None if lengths is None else check_lengths(lengths, x)
        if resets is not None:
            check_resets(resets, batch, time)
        if state is not None:
            self._check_state(state, batch)
        y, recent = self.projection(x), None
        if self.convolution is not None:
            y = y.to(self.projection.weight.dtype)  # under autocast, too: `recent` goes with the weights
            y, recent = self.convolution(y, None if state is None else state.recent, lengths, resets)
        q, k, v = y.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = None if lengths is None else inside(lengths, time)
        if state is None and seen is None and resets is None:
            o = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            before = 0 if state is None else state.keys.shape[2]
            if state is not None:
                k, v = torch.cat([state.keys, k], 2), torch.cat([state.values, v], 2)
                seen = both(state.seen, seen, batch, before, time, x.device)
            allowed = torch.ones(time, before + time, dtype=torch.bool, device=x.device).tril(before)
            allowed = allowed if seen is None else allowed & seen[:, None, None, :]
            if resets is not None:
                begun = (resets if lengths is None else resets & inside(lengths, time)).cumsum(1)
                of_key = functional.pad(begun, (before, 0))  # how often its sample had begun anew
                allowed = allowed & (begun[:, None, :, None] == of_key[:, None, None, :])
                now = of_key == begun[:, -1:]
                seen = now if seen is None else seen & now
            o = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        output = self.output(o.transpose(1, 2).flatten(2))
        if lengths is not None:
            output = output * inside(lengths, time)[..., None]
        return output if input.dim() == 3 else output.squeeze(0), AttentionState(k, v, seen, recent)

    def _check_state(self, state: Any, batch: int) -> None:
        if not isinstance(state, AttentionState):
            raise UserError(f"CausalAttention: got a state of type {type(state).__name__}, wanted an AttentionState")
        if state.keys.shape[0] != batch:
            raise UserError(f"CausalAttention: got a state of {state.keys.shape[0]} samples, wanted {batch}")
        if self.convolution is not None and state.recent is not None:
            check_recent("CausalAttention", self.convolution, state.recent, batch)


def both(
    first: Tensor | None, then: Tensor | None, batch: int, before: int, time: int, device: torch.device
) -> Tensor | None:
    if first is None and then is None:
        return None
    first = torch.ones(batch, before, dtype=torch.bool, device=device) if first is None else first
    return torch.cat([first, torch.ones(batch, time, dtype=torch.bool, device=device) if then is None else then], 1)
