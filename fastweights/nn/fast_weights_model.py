import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.nn.arguments import batched, check_like, check_sizes
from fastweights.nn.causal_attention import CausalAttention
from fastweights.nn.fast_weights_layer import FastWeightsLayer
from fastweights.ops.fast_weights_scan.call import check_resets
from fastweights.ops.lengths import check_lengths, inside
from fastweights.rules import Delta


class FastWeightsModel(nn.Module):
    r"""Blocks of memory and MLP, with norms before them and sums around them; called as `nn.LSTM` is.

        h = W x
        h = h + layer(norm(h));   h = h + W_2 gelu(W_1 norm(h))        for each block
        output = norm(h)

    input_size, hidden_size: of inputs, and of blocks and outputs; where they are equal there is no W.
    layers: what each block has: an update rule, or "attention" (`CausalAttention`); so hybrids are a list.
    heads: of each layer. mlp: hidden units of an MLP as a multiple of hidden_size; 0: no MLP.
    options: of each `FastWeightsLayer`; of them attention takes `convolution`, and `backend` is theirs alone.

    `output, state = model(input, state)`; the state is a plain tuple, that of each layer. Streaming token by token
    equals the whole sequence. lengths: [batch], the valid tokens; outputs past a sequence's end are zero. resets:
    [batch, time], true where a sample begins anew: no layer, attention included, sees anything before it. Weights of
    projections start normal with the deviation `start`, None: 0.8 / sqrt(hidden_size); those into a sum have it divided
    by sqrt(2 layers), as in GPT-2.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        layers: Sequence[Any] = (Delta(), Delta()),
        heads: int = 1,
        *,
        mlp: int = 2,
        start: float | None = None,
        batch_first: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(layers, str) or not isinstance(layers, Sequence):
            raise UserError(f"FastWeightsModel: got layers={layers!r}, wanted one rule a layer, as (Delta(), Delta())")
        check_sizes("FastWeightsModel", input_size=input_size, hidden_size=hidden_size, layers=len(layers), heads=heads)
        if type(mlp) is not int or mlp < 0:
            raise UserError(f"FastWeightsModel: got mlp={mlp!r}, wanted an integer >= 0")
        if start is not None and (not isinstance(start, int | float) or not 0 <= start < math.inf):
            raise UserError(f"FastWeightsModel: got start={start!r}, wanted a finite number >= 0, or None")
        where: Any = {"device": device, "dtype": dtype}
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        same = input_size == hidden_size
        self.into = None if same else nn.Linear(input_size, hidden_size, bias=False, **where)
        self.layers = nn.ModuleList(self._layer(each, heads, options, where) for each in layers)
        self.norms = nn.ModuleList(nn.RMSNorm(hidden_size, 1e-5, **where) for _ in layers)
        wide = mlp * hidden_size
        self.mlps = nn.ModuleList(
            nn.Sequential(
                nn.RMSNorm(hidden_size, 1e-5, **where),
                nn.Linear(hidden_size, wide, **where),
                nn.GELU(),
                nn.Linear(wide, hidden_size, **where),
            )
            for _ in layers
            if mlp
        )
        self.last_norm = nn.RMSNorm(hidden_size, 1e-5, **where)
        self._start(0.8 * hidden_size**-0.5 if start is None else start)

    def _layer(self, kind: Any, heads: int, options: dict[str, Any], where: dict[str, Any]) -> nn.Module:
        if kind == "attention":
            given = {name: value for name, value in options.items() if name == "convolution"}
            return CausalAttention(self.hidden_size, heads, **given, **where)
        if isinstance(kind, str):
            raise UserError(f"FastWeightsModel: got the layer {kind!r}, wanted an update rule, or 'attention'")
        return FastWeightsLayer(self.hidden_size, heads, kind, **options, **where)

    @torch.no_grad()
    def _start(self, deviation: float) -> None:
        if self.into is not None:
            bound = self.hidden_size**-0.5
            nn.init.uniform_(self.into.weight, -bound, bound)
        last = deviation / math.sqrt(2 * len(self.layers))
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and module is not self.into:
                into_sum = name.endswith((".output", ".3"))
                nn.init.normal_(module.weight, std=last if into_sum else deviation)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def ran(self) -> str | None:
        """The backends that ran the scans last."""
        names = [name for layer in self.layers if isinstance(name := getattr(layer, "ran", None), str)]
        return "+".join(dict.fromkeys(names)) or None

    def forward(
        self,
        input: Tensor,
        state: Sequence[Any] | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Any, ...]]:
        x = batched("FastWeightsModel", input, self.input_size, lengths=True)
        x = x if self.batch_first or input.dim() == 2 else x.transpose(0, 1)
        check_like("FastWeightsModel", x, self.last_norm.weight)
        lengths = None if lengths is None else check_lengths(lengths, x)
        if resets is not None:
            check_resets(resets, *x.shape[:2])
        if state is not None and (not isinstance(state, tuple | list) or len(state) != len(self.layers)):
            got = f"{len(state)} states" if isinstance(state, tuple | list) else type(state).__name__
            raise UserError(f"FastWeightsModel: got {got}, wanted a tuple of {len(self.layers)}, one a layer")
        h, after = x if self.into is None else self.into(x), []
        for place, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            change, kept = layer(norm(h), None if state is None else state[place], lengths=lengths, resets=resets)
            h = h + change
            if len(self.mlps):
                h = h + self.mlps[place](h)
            after.append(kept)
        output = self.last_norm(h)
        if lengths is not None:
            output = torch.where(inside(lengths, x.shape[1])[..., None], output, 0.0)
        if input.dim() == 2:
            output = output.squeeze(0)
        return output if self.batch_first or input.dim() == 2 else output.transpose(0, 1), tuple(after)
