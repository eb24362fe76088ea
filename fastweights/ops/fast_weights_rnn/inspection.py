"""What a step attended to: by equation 4 a read of the fast weights is attention over the past, exactly."""

import torch
from torch import Tensor

from fastweights.errors import UnsupportedBackend
from fastweights.ops.fast_weights_rnn.attention import as_stored, decay_powers, strength
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.fast_weights_rnn.reference import layer_norm, nonlinearity
from fastweights.rules import Cosine, Hebbian


def attended(call: Call, outputs: Tensor) -> Tensor:
    """The weight that each step's last read gave to each hidden vector before it, [batch, time, time].

        weight[t+1, tau] = rate decay^(t-tau) <h(tau), h_S-1(t+1)>,  tau = 1..t

    Of `Cosine` the directions stand in place of h, and the weights are those of the bounded read.
    `outputs` are those of the very call. All steps at once: given the outputs, the inner loops are independent.
    Needs an empty initial memory. Zero where nothing is read (inner_steps 0).
    """
    reason = None
    if type(call.rule) not in (Hebbian, Cosine):
        name = type(call.rule).__name__
        reason = f"there is no attention over hidden vectors of the rule {name}, only of Hebbian and Cosine"
    elif call.weights is not None or call.past is not None:
        reason = "its initial memory is not empty"
    if reason is not None:
        raise UnsupportedBackend(f"cannot show what was attended to: {reason}")
    time = outputs.shape[1]
    before = torch.cat([call.hidden[:, None], outputs[:, :-1]], dim=1)
    boundary = call.inputs + before @ call.recurrent.T
    lag = torch.arange(time, device=outputs.device)[:, None] - torch.arange(time, device=outputs.device) - 1
    scale = torch.where(lag >= 0, decay_powers(call.rule.decay, outputs)[lag.clamp(min=0)], 0.0) * strength(call.rule)
    stored = as_stored(call.rule, outputs)
    hidden, scores = nonlinearity(call, boundary), outputs.new_zeros(outputs.shape[0], time, time)
    for _ in range(call.inner_steps):
        scores = (as_stored(call.rule, hidden) @ stored.transpose(1, 2)) * scale.to(outputs)
        read = scores @ stored
        if type(call.rule) is Cosine:
            scores = scores * call.rule.factor(read, boundary)
        hidden = nonlinearity(call, layer_norm(call, boundary + scores @ stored))
    return scores
