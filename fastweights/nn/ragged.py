"""Sequences of several lengths, right-padded, through a recurrent network: padding enters neither outputs nor state."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.ops.lengths import check_lengths


def read_both_ways(network: nn.Module, inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Outputs [batch, time, features] of a bidirectional network that takes a `PackedSequence`; zero past an end."""
    if lengths is None:
        return outputs_of(network, inputs)
    lengths = check_lengths(lengths, inputs, least=1)
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(outputs_of(network, packed), batch_first=True, total_length=inputs.shape[1])[0]


def outputs_of(network: nn.Module, inputs: Any, *state: Any) -> Any:
    """Those of all steps, without the matrices of a final state that nobody reads."""
    return network(inputs, *state, **({"need_state": False} if isinstance(network, FastWeightsRNN) else {}))[0]


def ends_of(states: Tensor, lengths: Tensor | None) -> Tensor:
    """[batch, features]: the last step of the first half of the features, the first step of the second half."""
    forward, backward = states.chunk(2, dim=-1)
    if lengths is None:
        last = forward[:, -1]
    else:
        last = forward.take_along_dim(check_lengths(lengths, states, least=1)[:, None, None] - 1, dim=1)[:, 0]
    return torch.cat([last, backward[:, 0]], dim=-1)


def follow(first: Tensor, second: Tensor, lengths: Tensor | None) -> Tensor:
    """[batch, time + steps, features]: after the `lengths` steps of the first comes the second, without a gap.

    What is left at the end repeats the second's last step.
    """
    both = torch.cat([first, second], dim=1)
    if lengths is None:
        return both
    places = torch.arange(both.shape[1], device=both.device)
    gap = (first.shape[1] - check_lengths(lengths, first, least=1))[:, None]
    index = torch.where(places < first.shape[1] - gap, places, (places + gap).clamp(max=both.shape[1] - 1))
    return both.take_along_dim(index[..., None], dim=1)


def followers(outputs: Tensor, steps: int, lengths: Tensor | None) -> Tensor:
    """Those of the second in what `follow` made: [batch, steps, features]."""
    if lengths is None:
        return outputs[:, outputs.shape[1] - steps :]
    index = check_lengths(lengths, outputs, least=1)[:, None] + torch.arange(steps, device=outputs.device)
    return outputs.take_along_dim(index[..., None], dim=1)


def state_after(network: Any, inputs: Tensor, lengths: Tensor | None, state: Any = None) -> Any:
    """The state of any network called as `nn.LSTM(batch_first=True)`, each sample's after its own length.

    Where it takes no `PackedSequence`, it is called once for each length.
    """
    first = () if state is None else (state,)
    if lengths is None:
        return network(inputs, *first)[1]
    lengths = check_lengths(lengths, inputs, least=1)
    if isinstance(network, FastWeightsRNN | nn.RNNBase):
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return network(packed, *first)[1]
    groups = [(lengths == length).nonzero()[:, 0] for length in lengths.unique().tolist()]
    states = [network(inputs[group, : int(lengths[group[0]])])[1] for group in groups]
    back = torch.cat(groups).argsort()
    return pytree.tree_map(lambda *parts: torch.cat(parts, dim=1)[:, back], *states)
