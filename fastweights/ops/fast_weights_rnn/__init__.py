"""The recurrence of Ba et al. 2016, one signature over several backends; each equals `reference.py`."""

import logging
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fastweights.errors import UnsupportedBackend, UserError
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_rnn import attention, cpu, exported, reference, triton
from fastweights.ops.fast_weights_rnn.call import Call, check
from fastweights.ops.past import PastState
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Hebbian, Rule

BACKENDS: dict[str, ModuleType] = {
    "reference": reference,
    "attention": attention,
    "cpu": cpu,
    "triton": triton,
}

# The explicit matrix costs time x hidden^2, attention time^2 x hidden: attention is taken up to this many steps a
# hidden unit. Measured: `python benchmarks/crossover.py`.
STEPS_PER_UNIT = 2.0

# A call of more than these batch x time x hidden^2 is no toy: the reference takes long for it.
TOY = 2e7

_log = logging.getLogger("fastweights")
_warned = False


def fast_weights_rnn(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None = None,
    bias: Tensor | None = None,
    state: FastWeightsState | PastState | None = None,
    *,
    rule: Rule = Hebbian(decay=0.95, rate=0.5),  # noqa: B008 - frozen
    inner_steps: int = 1,
    nonlinearity: str = "relu",
    lengths: Tensor | None = None,
    backend: str = "auto",
    need_state: bool = True,
) -> tuple[Tensor, Any]:
    r"""Run a fast-weights RNN over whole sequences.

        boundary = W h(t) + C x(t+1)
        h_0(t+1) = f(boundary)
        h_s+1(t+1) = f(LN[boundary + A(t) h_s(t+1)])      s = 0 .. inner_steps-1;  h(t+1) = h_S(t+1)
        A(t+1) = decay A(t) + rate h(t+1) h(t+1)^T        or what `rule` writes with key = value = h(t+1)

    It differs from an Elman RNN by the inner loop alone. `inner_steps=0` writes the fast weights and does not read
    them, h = f(LN[boundary]): a layer-normed RNN.

    Args:
        inputs: [batch, time, hidden], C x(t), bias included.
        recurrent: [hidden, hidden], the slow weights W.
        gain, bias: [hidden] each, of the layer norm (over the units of a sample, epsilon 1e-5); both None: no layer
            norm.
        state: a pair of h(0) [batch, hidden] and A(0) [batch, hidden, hidden], which contains h(0); None: zeros. Or a
            `PastState`, the hidden vectors that A(0) was written of: such a one is returned then.
        rule: any update rule; its constants are floats, or 0-d tensors that get a gradient.
        inner_steps: iterations of the inner loop, S in the paper.
        nonlinearity: f, "relu" or "tanh".
        lengths: [batch], the valid steps of each sequence; outputs past its end are zero and its state stops there.
        backend: "auto" takes the fastest that can run this call; `backend_of` of the same arguments names it.
        need_state: False for None in place of the state. Its weights take batch x hidden^2 numbers, and as long as a
            step or two: they are not formed then, as with need_weights of `nn.MultiheadAttention`.

    Returns:
        The outputs h(1) .. h(time), [batch, time, hidden], and the state after the last step. Differentiable in every
        tensor argument, the initial state and the constants of the rule included.

    Raises:
        ValueError, TypeError: an argument is of the wrong shape, dtype, device or range.
        UnsupportedBackend: the named backend cannot run this call; the message says why.

    Paper: Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258 (equations 1-5).
    """
    call = check(inputs, recurrent, gain, bias, state, rule, inner_steps, nonlinearity, lengths, need_state)
    return run(call, backend)[:2]


def run(call: Call, backend: str = "auto") -> tuple[Tensor, Any, str]:
    """Outputs and state of a call that was checked, and the name of the backend that ran it."""
    if call.past is not None:
        return _run_past(call, backend)
    if backend == "auto" and torch.compiler.is_exporting():
        return *exported.run(call), "exported"
    name = choose(call, backend)
    if name == "reference" and backend == "auto" and not limits.abstract():
        _warn_of_reference(call)
    outputs, state = BACKENDS[name].run(call)
    return outputs, state, name


def _run_past(call: Call, backend: str) -> tuple[Tensor, PastState | None, str]:
    """What follows on hidden vectors, by a backend that attends to them; on none, as any other call."""
    past = call.past
    assert past is not None
    if past.shape[1]:
        name = choose(call, backend)
        outputs, _ = BACKENDS[name].run(replace(call, need_state=False))
    else:
        outputs, _, name = run(replace(call, past=None, need_state=False), backend)
    return outputs, PastState(past).followed_by(outputs, call.lengths) if call.need_state else None, name


def backend_of(*arguments: Any, backend: str = "auto", **options: Any) -> str:
    """The name of the backend that `fast_weights_rnn` takes for these arguments."""
    defaults = {"gain": None, "bias": None, "state": None, "rule": Hebbian(decay=0.95, rate=0.5)}
    defaults |= {"inner_steps": 1, "nonlinearity": "relu", "lengths": None}
    given = dict(zip(("inputs", "recurrent", "gain", "bias", "state"), arguments, strict=False))
    return choose(check(**(defaults | given | options)), backend)


def choose(call: Call, backend: str = "auto") -> str:
    """The name of the backend that runs `call`; raises `UnsupportedBackend` where a named one cannot."""
    if backend == "auto":
        name = _fastest(call)
        if not torch.compiler.is_compiling():
            _log.debug("fast_weights_rnn: inputs %s run by the %s backend", list(call.inputs.shape), name)
        return name
    if backend not in BACKENDS:
        raise UserError(f"backend: got {backend!r}, wanted 'auto' or one of {', '.join(map(repr, BACKENDS))}")
    reason = BACKENDS[backend].why_not(call)
    if reason is not None:
        raise UnsupportedBackend(f"backend {backend!r} cannot run this call: {reason}. backend='auto' can")
    return backend


def why_not(call: Call) -> dict[str, str | None]:
    """For every backend, why it cannot run `call`, or None where it can."""
    return {name: module.why_not(call) for name, module in BACKENDS.items()}


def _warn_of_reference(call: Call) -> None:
    """Say once, of a call of more than toy size, why the slowest backend runs it."""
    global _warned
    batch, time, hidden = call.inputs.shape
    if _warned or batch * time * hidden**2 <= TOY:
        return
    _warned = True
    device = call.inputs.device.type
    fast = "triton" if device == "cuda" else "cpu"
    _log.warning(
        "note: inputs %s of fast_weights_rnn are run by the reference backend, which is slow; backend %r does not run "
        "them: %s. This is said once, and not with backend='reference'",
        list(call.inputs.shape),
        fast,
        BACKENDS[fast].why_not(call),
    )


def _fastest(call: Call) -> str:
    if cpu.why_not(call) is None:
        return "cpu"
    if call.inputs.device.type == "cuda" and triton.why_not(call) is None:
        return "triton"
    if attention.why_not(call) is None and call.inputs.shape[1] <= STEPS_PER_UNIT * call.inputs.shape[2]:
        return "attention"
    return "reference"
