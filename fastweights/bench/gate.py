"""A backend is timed only after it matched the reference: outputs, final state and all gradients."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median
from typing import Any

import torch
from torch import Tensor

from fastweights.nn import FastWeightsRNN, FastWeightsRNNCell
from fastweights.ops import FastWeightsState, fast_weights_rnn
from fastweights.ops.fast_weights_rnn.call import Call, check
from fastweights.rules import Hebbian

FLOOR = 2e-6  # relative error that float32 is always granted: 17 units in the last place
DRAWS = 3  # the median over these counts: one ReLU that rounding turns over is no error
Results = dict[str, Tensor]
SYMBOLS = 10  # of a classifier
TOKENS = 8  # streamed, for the comparison of a cell
RULE = Hebbian()  # the paper's: what it costs does not depend on its constants
COMPARED = 2**27  # numbers of fast weights that the reference may keep for its gradient


@dataclass(frozen=True)
class Shape:
    batch: int
    steps: int
    hidden: int
    inner_steps: int = 1
    device: str = "cpu"

    def call(self) -> Call:
        """What `why_not` of a backend is asked about."""
        inputs, recurrent, gain, bias = self.arguments(0, torch.float32)
        return check(inputs, recurrent, gain, bias, None, RULE, self.inner_steps, "relu", None)

    def arguments(self, seed: int, dtype: torch.dtype) -> list[Tensor]:
        """inputs, recurrent, gain and bias: the same numbers in every dtype and on every device."""
        g = torch.Generator().manual_seed(seed)
        h = self.hidden
        drawn = [
            torch.randn(self.batch, self.steps, h, generator=g),
            0.05 * torch.eye(h) + 0.1 * torch.randn(h, h, generator=g) / h**0.5,
            1 + 0.1 * torch.randn(h, generator=g),
            0.1 * torch.randn(h, generator=g),
        ]
        return [tensor.to(self.device, dtype).requires_grad_() for tensor in drawn]

    @property
    def steps_compared(self) -> int:
        """All, unless the explicit matrices of the reference would not fit: then a prefix."""
        return max(1, min(self.steps, COMPARED // (self.batch * self.hidden**2)))


def mismatch(backend: str, shape: Shape) -> str | None:
    """What of `backend` differs from the reference on this shape, or None: of the op, and of what a classifier calls.

    The error of each result against the reference in float64, relative in the 2-norm, may be twice that of the
    reference in float32 (and FLOOR).
    """
    shape = replace(shape, steps=shape.steps_compared)
    return compare(op_results, shape, backend) or compare(last_results, shape, backend)


def mismatch_of_cell(backend: str, shape: Shape) -> str | None:
    """The same for a cell that reads TOKENS one by one at `shape.batch`, without gradients."""
    return compare(cell_results, shape, backend)


def compare(results: Callable[[str, Shape, torch.dtype, int], Results], shape: Shape, backend: str) -> str | None:
    if backend == "reference":
        return None
    errors: dict[str, list[tuple[float, float]]] = {}
    for seed, (true, plain) in enumerate(truth(results, shape)):
        try:
            got = results(backend, shape, torch.float32, seed)
        except Exception as error:  # whatever it is: this backend is not to be timed
            return f"raises {type(error).__name__}: {error}"
        for name, wanted in true.items():
            if got[name].shape != wanted.shape:
                return f"{name} of shape {list(got[name].shape)}, wanted {list(wanted.shape)}"
            errors.setdefault(name, []).append((distance(got[name], wanted), distance(plain[name], wanted)))
    for name, pairs in errors.items():
        error = median(own for own, _ in pairs)
        bound = max(FLOOR, 2 * median(eager for _, eager in pairs))
        if not error <= bound:  # NaN is wrong, too
            return f"{name} off by {error:.1e}, allowed {bound:.1e}"
    return None


@lru_cache(maxsize=2)
def truth(results: Any, shape: Shape) -> list[tuple[Results, Results]]:
    """The reference in float64 and in float32, a pair a draw: once for all the backends of a shape."""
    return [
        (results("reference", shape, torch.float64, seed), results("reference", shape, torch.float32, seed))
        for seed in range(DRAWS)
    ]


def distance(got: Tensor, wanted: Tensor) -> float:
    got = got.to(wanted)
    return float(torch.linalg.vector_norm(got - wanted) / torch.linalg.vector_norm(wanted).clamp(min=1e-30))


def op_results(backend: str, shape: Shape, dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    leaves = inputs, recurrent, gain, bias = shape.arguments(seed, dtype)
    outputs, state = fast_weights_rnn(
        inputs, recurrent, gain, bias, rule=RULE, inner_steps=shape.inner_steps, backend=backend
    )
    assert state is not None
    g = torch.Generator().manual_seed(seed + 1)
    weigh = torch.randn(outputs.shape, generator=g).to(outputs)
    gradients = torch.autograd.grad((outputs * weigh).sum() + state.weights.mean(), leaves)
    names = ["gradient of inputs", "gradient of recurrent", "gradient of gain", "gradient of bias"]
    found = {"outputs": outputs, "final hidden": state.hidden, "final weights": state.weights}
    return {name: tensor.detach() for name, tensor in (found | dict(zip(names, gradients, strict=True))).items()}


def last_results(backend: str, shape: Shape, dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    """From symbols to the last hidden vector, as in a training step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        steps = shape.inner_steps
        rnn = FastWeightsRNN(SYMBOLS, shape.hidden, batch_first=True, rule=RULE, inner_steps=steps, backend=backend)
        features = SYMBOLS**0.5 * torch.randn(SYMBOLS, SYMBOLS)
        symbols = torch.randint(SYMBOLS, (shape.batch, shape.steps))
        weigh = torch.randn(shape.batch, shape.hidden)
    rnn.to(shape.device, dtype)
    features = features.to(shape.device, dtype).requires_grad_()
    last, _ = rnn.last_of_symbols(symbols.to(shape.device), features)
    named = {"features": features, **dict(rnn.named_parameters())}
    gradients = torch.autograd.grad((last * weigh.to(last)).sum(), list(named.values()))
    found = {"last hidden": last.detach()}
    return found | {f"gradient of {name}": g for name, g in zip(named, gradients, strict=True)}


@torch.no_grad()
def cell_results(backend: str, shape: Shape, dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        steps = shape.inner_steps
        cell = FastWeightsRNNCell(shape.hidden, shape.hidden, rule=RULE, inner_steps=steps, backend=backend)
    cell.to(shape.device, dtype)
    tokens = torch.randn(TOKENS, shape.batch, shape.hidden, generator=torch.Generator().manual_seed(seed))
    zeros = [
        torch.zeros(shape.batch, *sizes, device=shape.device, dtype=dtype)
        for sizes in ((shape.hidden,), 2 * (shape.hidden,))
    ]
    state = FastWeightsState(*zeros)
    found: dict[str, Tensor] = {}
    for number, token in enumerate(tokens.to(shape.device, dtype), start=1):
        state: FastWeightsState = cell(token, state)
        found[f"hidden after token {number}"] = state.hidden
        found[f"weights after token {number}"] = state.weights
    return found
