from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UserError
from fastweights.nn.arguments import batched, check_like, check_sizes
from fastweights.nn.feature_maps import feature_maps
from fastweights.nn.gates import Gates
from fastweights.nn.layer_state import LayerState
from fastweights.nn.short_convolution import ShortConvolution, check_convolution, check_recent
from fastweights.ops.fast_weights_scan import run
from fastweights.ops.fast_weights_scan.call import check, check_resets
from fastweights.ops.lengths import check_lengths
from fastweights.ops.rms_norm import rms_norm
from fastweights.ops.short_convolution import Part
from fastweights.ops.short_convolution.reference import in_heads
from fastweights.rules import Delta

OUTPUT_GATES = {"silu": functional.silu, "sigmoid": torch.sigmoid}


class FastWeightsLayer(nn.Module):
    r"""A layer with a memory that any update rule writes: linear attention, the delta rule and their kin.

        q, k, v  = silu(convolution(W x))         by heads; k and q go through feature maps, such as l2
        gates    = those of the rule, of x        see `Gates`
        o        = fast_weights_scan(q, k, v, gates, rule=rule)
        output   = W_o (RMSNorm(o) * gate(W_g x))

    It differs from `FastWeightsRNN` in that keys and values come from the input alone, so that whole sequences are
    matrix products. The published layers differ by rule in what lies around the memory; this has one form for all, by
    default that of the delta rule. It loads no published weights, whose layouts differ.

    size: of inputs and outputs. heads: memories beside each other.
    rule: an update rule of `fastweights.rules` that has a `step`, or one of your own.
    key_size, value_size: of a head; None: size // heads.
    features: what keys and queries go through, one map after the other (`fastweights.nn.feature_maps.FEATURES`);
        None: ("l2",), or ("elu+1",) for a rule that divides by a sum of features.
    convolution: steps that the short convolution sees; 0: none.
    output_norm: RMSNorm of what each head reads. output_gate: "silu" or "sigmoid"; None: no gate.
    negative_eigenvalues, leave_out: see `Gates`.
    batch_first: inputs and outputs are [batch, time, size]; False: [time, batch, size]. A state is batch first anyway.
    backend: as in `fast_weights_scan`; `layer.ran` names the one that ran last.

    Called as `nn.LSTM` is: `output, state = layer(input, state)`, with a batch axis or without. The state is a plain
    pair, `LayerState`: the memory, and the last inputs of the convolution. Streaming token by token equals the whole
    sequence. lengths: [batch], the valid tokens; outputs past a sequence's end are zero, and its state stops there.
    resets: [batch, time], true where a sample begins anew, inside a call.

    Raises `UserError` where sizes, features or gates do not fit.

    Papers: Schlag, Irie, Schmidhuber 2021, https://arxiv.org/abs/2102.11174; Yang, Wang, Zhang, Shen, Kim 2024,
    https://arxiv.org/abs/2406.06484.
    """

    def __init__(
        self,
        size: int,
        heads: int = 1,
        rule: Any = None,
        *,
        key_size: int | None = None,
        value_size: int | None = None,
        features: Sequence[str] | str | None = None,
        convolution: int = 4,
        output_norm: bool = True,
        output_gate: str | None = None,
        negative_eigenvalues: bool = False,
        leave_out: Sequence[str] = (),
        batch_first: bool = True,
        backend: str = "auto",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("FastWeightsLayer", size=size, heads=heads)
        rule = Delta() if rule is None else rule
        if isinstance(rule, type) or not hasattr(rule, "GATES") or not callable(getattr(rule, "step", None)):
            raise UserError(f"FastWeightsLayer: got the rule {rule!r}, wanted one with GATES and a step, as Delta()")
        if (key_size is None or value_size is None) and size % heads:
            raise UserError(f"FastWeightsLayer: got size={size} and heads={heads}, wanted heads that divide the size, "
                            "or a key_size and a value_size")  # fmt: skip
        if output_gate not in (None, *OUTPUT_GATES):
            raise UserError(f"FastWeightsLayer: got output_gate={output_gate!r}, wanted None, 'silu' or 'sigmoid'")
        check_convolution("FastWeightsLayer", convolution)
        self.size, self.heads, self.rule, self.batch_first, self.backend = size, heads, rule, batch_first, backend
        self.key_size = key = size // heads if key_size is None else key_size
        self.value_size = value = size // heads if value_size is None else value_size
        check_sizes("FastWeightsLayer", key_size=key, value_size=value)
        if features is None:
            features = ("elu+1",) if getattr(rule, "normalize", False) else ("l2",)
        self.features = (features,) if isinstance(features, str) else tuple(features)
        mapped = key
        for each in feature_maps(self.features):
            mapped = each.size(mapped)
        self.output_gate, self.substeps = output_gate, getattr(rule, "substeps", 1)
        unit, many = self.features[:1] == ("l2",), self.substeps * heads
        self.maps = feature_maps(self.features[unit:])  # those that are left: the convolution brings to unit length
        self.parts = (Part(heads, key, unit), Part(many, key, unit), Part(many, value))
        self.ran: str | None = None
        options: Any = {"device": device, "dtype": dtype}
        self.channels = sum(part.channels for part in self.parts)
        self.projection = nn.Linear(size, self.channels, bias=False, **options)
        self.convolution = ShortConvolution(self.channels, convolution, **options) if convolution else None
        kinds: Any = {"negative_eigenvalues": negative_eigenvalues, "leave_out": leave_out}
        self.gates = Gates(rule, size, heads, mapped, value, **kinds, **options)
        self.norm = nn.Parameter(torch.ones(value, **options)) if output_norm else None
        self.gate = nn.Linear(size, heads * value, bias=False, **options) if output_gate else None
        self.output = nn.Linear(heads * value, size, bias=False, **options)

    def forward(
        self,
        input: Tensor,
        state: LayerState | tuple[Any, Any] | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, LayerState]:
        x = batched("FastWeightsLayer", input, self.size, lengths=True)
        x = x if self.batch_first or input.dim() == 2 else x.transpose(0, 1)
        check_like("FastWeightsLayer", x, self.projection.weight)
        lengths = None if lengths is None else check_lengths(lengths, x)
        if resets is not None:
            check_resets(resets, *x.shape[:2])
        memory, recent = check_state(state, self.convolution, x.shape[0])
        dtype = self.projection.weight.dtype  # under autocast the memory keeps its own precision, for it adds up
        y = self.projection(x).to(dtype)
        if self.convolution is None:
            q, k, v = in_heads(functional.silu(y), self.parts)
            recent = None
        else:
            (q, k, v), recent = self.convolution(y, recent, lengths, resets, self.parts)
        for each in self.maps:
            q, k = each.function(q), each.function(k)
        if self.substeps > 1:  # a token's keys and values one after the other
            k, v = (each.unflatten(2, (self.substeps, -1)).flatten(1, 2) for each in (k, v))
        gates = {name: gate.to(dtype) for name, gate in self.gates(x).items()}
        call = check(q, k, v, gates, self.rule, memory, resets, lengths, None)
        o, memory, ran = run(call, self.backend)
        if ran != self.ran:  # to set an attribute of a module takes long, beside one token
            self.ran = ran
        if self.norm is not None:
            o = rms_norm(o, self.norm)
        o = o.flatten(2)
        if self.gate is not None and self.output_gate is not None:
            o = o * OUTPUT_GATES[self.output_gate](self.gate(x))
        output = self.output(o)
        if input.dim() == 2:
            output = output.squeeze(0)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        return output, LayerState(memory, recent)

    def extra_repr(self) -> str:
        told = f"{self.size}, heads={self.heads}, rule={self.rule}, features={'+'.join(self.features)}"
        return told + ("" if self.batch_first else ", batch_first=False")


def check_state(state: Any, convolution: ShortConvolution | None, batch: int) -> tuple[Any, Tensor | None]:
    if state is None:
        return None, None
    if isinstance(state, Tensor) or not isinstance(state, tuple | list) or len(state) != 2:
        raise UserError(f"FastWeightsLayer: got a state of type {type(state).__name__}, wanted a pair (memory, recent)")
    memory, recent = state
    if convolution is not None and recent is not None:
        check_recent("FastWeightsLayer", convolution, recent, batch)
    return memory, recent
