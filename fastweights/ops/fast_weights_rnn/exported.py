"""How a sequence is run in a program that `torch.export` or `torch.onnx.export` writes. No choice rests on its length.

one step        operations of torch alone, which every runtime has
torch.export    one custom operator for the whole sequence; it takes the fastest backend where it runs
ONNX            one Scan over the steps, of any rule
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.ops.fast_weights_rnn import reference
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Cosine, Hebbian


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    time, rule = call.inputs.shape[1], call.rule
    fixed = isinstance(time, int)
    if fixed and time == 1:
        return reference.run(call)
    if torch.onnx.is_in_onnx_export():
        return _scan(call)
    if type(rule) not in (Hebbian, Cosine):
        if not fixed:
            raise UserError(
                f"torch.export: got a dynamic length with the rule {type(rule).__name__}, wanted a fixed length "
                "(torch.onnx.export takes both)"
            )
        return reference.run(call)
    tensors = call.inputs, call.recurrent, call.gain, call.bias, call.hidden, call.weights
    constants = (torch.as_tensor(c, dtype=torch.float64, device=call.inputs.device) for c in (rule.decay, rule.rate))
    settings = call.lengths, call.inner_steps, call.nonlinearity, call.need_state, type(rule) is Cosine
    outputs, *state = sequence(*tensors, *constants, *settings)
    return outputs, FastWeightsState(*state) if call.need_state else None


def _scan(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    """`reference.run` with its loop as one node. ONNX has no gradient, and torch exports no scan that has one."""
    from torch._higher_order_ops.scan import scan_op

    slow = {name: each for name in ("recurrent", "gain", "bias") if (each := getattr(call, name)) is not None}
    constants = {name: each for name, each in vars(call.rule).items() if isinstance(each, Tensor)}
    inputs, valid = reference.masked(call)
    over = [inputs] if valid is None else [inputs, valid]

    def step(hidden: Tensor, weights: Tensor, x: Tensor, *rest: Tensor) -> list[Tensor]:
        inside, held = (None, rest) if valid is None else (rest[0], rest[1:])
        rule = replace(call.rule, **dict(zip(constants, held[len(slow) :], strict=True))) if constants else call.rule
        now = replace(call, rule=rule, **dict(zip(slow, held, strict=False)))
        output, hidden, weights = reference.step(now, x, inside, hidden, weights)
        return [hidden, weights, output.clone()]

    first = [call.hidden.detach(), reference.first_weights(call).detach()]
    held = [each.detach() for each in (*slow.values(), *constants.values())]  # a scan takes none that it is not handed
    hidden, weights, outputs = scan_op(step, first, [each.detach().transpose(0, 1) for each in over], held)
    return outputs.transpose(0, 1), FastWeightsState(hidden, weights) if call.need_state else None


@torch.library.custom_op("fastweights::sequence", mutates_args=())
def sequence(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor,
    weights: Tensor | None,
    decay: Tensor,
    rate: Tensor,
    lengths: Tensor | None,
    inner_steps: int,
    nonlinearity: str,
    need_state: bool,
    cosine: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs and the state after them, which has no numbers where it is not needed."""
    tensors = inputs, recurrent, gain, bias, hidden, weights, decay, rate, lengths
    with torch.no_grad():
        outputs, state = _fastest(*tensors, inner_steps, nonlinearity, need_state, cosine)
    last, memory = state or (inputs.new_empty(0), inputs.new_empty(0))
    return outputs, last, memory


@sequence.register_fake
def _(inputs: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    (batch, _, units), need_state = inputs.shape, others[-2]
    last, memory = ((batch, units), (batch, units, units)) if need_state else ((0,), (0,))
    return inputs.new_empty(inputs.shape), inputs.new_empty(last), inputs.new_empty(memory)


def _fastest(*given: Any) -> tuple[Tensor, FastWeightsState | None]:
    from fastweights.ops.fast_weights_rnn import run as run_fastest

    *tensors, decay, rate, lengths, inner_steps, nonlinearity, need_state, cosine = given
    rule = (Cosine if cosine else Hebbian)(decay, rate)
    arguments: Any = (*tensors, rule, inner_steps, nonlinearity, lengths, need_state)
    return run_fastest(Call(*arguments))[:2]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, inner_steps, nonlinearity, need_state, cosine = inputs
    ctx.save_for_backward(*tensors)
    ctx.settings = inner_steps, nonlinearity, need_state, cosine


def _backward(ctx: Any, *d: Tensor) -> Any:
    """By another forward pass: the operator keeps its arguments alone."""
    *tensors, lengths = ctx.saved_tensors
    needs = ctx.needs_input_grad[: len(tensors)]
    leaves: list[Any] = [each if each is None else each.detach() for each in tensors]
    wanted = [leaf.requires_grad_() for leaf, needed in zip(leaves, needs, strict=True) if needed]
    with torch.enable_grad():
        outputs, state = _fastest(*leaves, lengths, *ctx.settings)
    ends = [outputs, *(state or ())]
    found = iter(torch.autograd.grad(ends, wanted, d[: len(ends)], allow_unused=True))
    return *(next(found) if needed else None for needed in needs), None, None, None, None, None


sequence.register_autograd(_backward, setup_context=_setup)
