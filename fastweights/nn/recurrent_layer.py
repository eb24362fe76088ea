"""What one layer of the fast-weights RNN and its cell share: parameters, their start, and the call of the op."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UserError
from fastweights.nn import learned_constants
from fastweights.ops import FastWeightsState
from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import NOWHERE
from fastweights.ops.fast_weights_rnn import run as run_call
from fastweights.ops.fast_weights_rnn.call import NONLINEARITIES, check, check_settings
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory
from fastweights.ops.fast_weights_rnn.kinds import kind_of
from fastweights.ops.fast_weights_rnn.projected import Constants, run_projected
from fastweights.ops.fast_weights_rnn.streaming import stream
from fastweights.ops.fast_weights_rnn.symbols import last_hidden
from fastweights.ops.past import PastState

STREAM_BATCH = 16  # up to here a step of the cell is one call; beyond, the op's matrix products are faster
RECURRENT_SCALE = 0.05  # slow recurrent weights start as this multiple of the identity (Ba et al. 2016, A.1)


LayerState = FastWeightsState | PastState | None


def make_parameters(module: Any, suffix: str, size: int, options: Any) -> None:
    check_settings(module.rule, module.inner_steps, module.nonlinearity)  # a streamed step has no time to look
    hidden = module.hidden_size
    shapes = {"weight_ih": (hidden, size), "weight_hh": (hidden, hidden)}
    if module.layer_norm:
        shapes["gain"] = (hidden,)
    if module.has_bias:
        shapes["bias"] = (hidden,)
    shapes |= {f"{name}_raw": (1,) for name in module.learned}  # FSDP refuses scalars
    for name, shape in shapes.items():
        module.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, **options)))


@torch.no_grad()
def reset_parameters(module: Any, suffix: str) -> None:
    bound = 1 / math.sqrt(module.hidden_size)
    nn.init.uniform_(getattr(module, "weight_ih" + suffix), -bound, bound)
    nn.init.eye_(getattr(module, "weight_hh" + suffix)).mul_(RECURRENT_SCALE)
    if module.has_bias:
        nn.init.zeros_(getattr(module, "bias" + suffix))
    if module.layer_norm:
        nn.init.ones_(getattr(module, "gain" + suffix))
    for name in module.learned:
        nn.init.constant_(getattr(module, f"{name}_raw{suffix}"), learned_constants.to_raw(module.rule, name))


def parameter(module: Any, name: str) -> Tensor:
    """A parameter by its name, past the search of `nn.Module`, which takes a twentieth of a streamed step."""
    found = module._parameters.get(name)
    return getattr(module, name) if found is None else found  # what is parametrized is none any more


def check_floats(input: Tensor) -> None:
    """Raise where the input is tokens, say: torch would speak of the types of matrices."""
    if not input.dtype.is_floating_point:
        way_out = "tokens are embedded first, as by nn.Embedding, or by SequenceModel.look_up"
        raise UserError(f"input: got {str(input.dtype)[6:]}, wanted floats; {way_out}")


def project(module: Any, suffix: str, inputs: Tensor) -> Tensor:
    weight = parameter(module, "weight_ih" + suffix)
    if weight.is_meta and not inputs.is_meta:  # torch would leave the result as the memory was
        raise UserError(f"weight_ih{suffix}: got a weight on meta, wanted {inputs.device} as the input")
    return functional.linear(inputs, weight, boundary_bias(module, suffix))


def boundary_bias(module: Any, suffix: str) -> Tensor | None:
    """The bias of C x, where no layer norm has one of its own."""
    return parameter(module, "bias" + suffix) if module.has_bias and not module.layer_norm else None


def run(
    module: Any, suffix: str, inputs: Tensor, state: LayerState, lengths: Tensor | None, need_state: bool
) -> tuple[Tensor, Any]:
    device, dtype = inputs.device.type, parameter(module, "weight_hh" + suffix).dtype
    if inputs.dtype != dtype and torch.is_autocast_enabled(device):  # the memory adds up: it keeps its own precision
        with torch.autocast(device, enabled=False):
            return run(module, suffix, inputs.to(dtype), state, lengths, need_state)
    slow, rule = slow_weights(module, suffix), current_rule(module, suffix)
    settings = (rule, module.inner_steps, module.nonlinearity, lengths, need_state)
    outputs, state, name = run_call(check(inputs, *slow, state, *settings), module.backend)
    note(module, name)
    return outputs, state


def run_layer(
    module: Any, suffix: str, inputs: Tensor, state: LayerState, lengths: Tensor | None, need_state: bool
) -> tuple[Tensor, FastWeightsState | None] | None:
    """`run` of the projected inputs, with a gradient, in one call; None where they have to be projected before."""
    if module.backend not in ("auto", "cpu") or not torch.is_grad_enabled() or not limits.runs(inputs.dtype):
        return None
    if isinstance(state, PastState):
        return None
    constants = constants_now(module, suffix) if sound(module) else None
    if constants is None:
        return None
    done = run_projected(
        inputs,
        parameter(module, "weight_ih" + suffix),
        boundary_bias(module, suffix),
        *slow_weights(module, suffix),
        state,
        constants,
        module.inner_steps,
        module.nonlinearity,
        lengths,
        need_state,
    )
    if done is not None:
        note(module, "cpu")
    return done


def constants_now(module: Any, suffix: str) -> Constants | None:
    """The rule by its numbers, and what learns them."""
    memory, rule = memory_now(module, suffix), module.rule
    if memory is None:
        return None
    names = ("decay", "rate")
    raw = [parameter(module, f"{name}_raw{suffix}") if name in module.learned else None for name in names]
    slopes = [
        0.0 if each is None else learned_constants.slope(rule, name, value)
        for name, value, each in zip(names, memory.constants, raw, strict=True)
    ]

    def tensors(*given: Tensor | None) -> Any:
        found = {name: each for name, each in zip(names, given, strict=True) if each is not None}
        return learned_constants.with_learned(rule, found)

    return Constants(memory, (raw[0], raw[1]), (slopes[0], slopes[1]), tensors)


def note(module: Any, name: str) -> None:
    """`module.ran` is the name of the backend that ran last."""
    if module.ran != name and not torch.compiler.is_compiling():
        module.ran = name


def run_symbols(module: Any, suffix: str, symbols: Tensor, features: Tensor) -> Tensor | None:
    """The last hidden vector after `symbols`, from the features of each; None where the op has to be asked."""
    if not sound(module):
        return None
    return last_hidden(
        features,
        parameter(module, "weight_ih" + suffix),
        boundary_bias(module, suffix),
        symbols,
        *slow_weights(module, suffix),
        current_rule(module, suffix),
        module.inner_steps,
        module.nonlinearity,
    )


def sound(module: Any) -> bool:
    """Whether the settings, where they were set later, are such as kernels know: else the op says what is wrong."""
    return module.nonlinearity in NONLINEARITIES and type(module.inner_steps) is int and module.inner_steps >= 0


def stream_step(module: Any, suffix: str, inputs: Tensor, state: FastWeightsState | None) -> FastWeightsState | None:
    """One step, [batch, input_size], in one compiled call where that can be; None where the op has to be asked."""
    if module.backend not in ("auto", "cpu") or inputs.shape[0] > STREAM_BATCH:
        return None
    if not sound(module):
        return None
    memory = memory_now(module, suffix) if limits.runs(inputs.dtype) else None
    if memory is None:
        return None
    note(module, "cpu")
    return stream(
        inputs,
        parameter(module, "weight_ih" + suffix),
        boundary_bias(module, suffix),
        *slow_weights(module, suffix),
        state,
        memory,
        module.inner_steps,
        module.nonlinearity,
    )


def memory_now(module: Any, suffix: str) -> Memory | None:
    """What `current_rule` is to the kernels, by numbers alone: as tensors it would take longer than a streamed step."""
    rule, kind = module.rule, kind_of(module.rule)
    if kind is None:
        return None
    constants = {"decay": rule.decay, "rate": rule.rate}
    for name in module.learned:
        raw = parameter(module, f"{name}_raw{suffix}")
        if not limits.fits(raw, raw.dtype, 1) or raw.data_ptr() <= NOWHERE:
            return None
        constants[name] = learned_constants.number(rule, name, raw.item())
    return Memory(float(constants["decay"]), float(constants["rate"]), kind)


def slow_weights(module: Any, suffix: str) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """W, and gain and bias of the layer norm where there is one."""
    recurrent = parameter(module, "weight_hh" + suffix)
    if not module.layer_norm:
        return recurrent, None, None
    gain = parameter(module, "gain" + suffix)
    return recurrent, gain, parameter(module, "bias" + suffix) if module.has_bias else torch.zeros_like(gain)


def current_rule(module: Any, suffix: str) -> Any:
    """The rule with the constants that are learned where they stand now."""
    if not module.learned:
        return module.rule
    return learned_constants.with_learned(
        module.rule, {n: parameter(module, f"{n}_raw{suffix}") for n in module.learned}
    )


def describe(module: Any) -> str:
    parts = [f"{module.input_size}, {module.hidden_size}"]
    defaults = {
        "num_layers": 1,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
        "learned": (),
        "inner_steps": 1,
        "layer_norm": True,
        "nonlinearity": "relu",
        "backend": "auto",
        "has_bias": True,
    }
    changed = [(n, getattr(module, n)) for n, d in defaults.items() if getattr(module, n, d) != d]
    if module.learned == learned_constants.check_learned(module.rule, None, module.inner_steps):
        changed = [(n, value) for n, value in changed if n != "learned"]
    parts += [f"{name.removeprefix('has_')}={value!r}" for name, value in changed]
    return ", ".join([*parts, f"rule={module.rule}"])
