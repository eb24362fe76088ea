"""Who is measured, and the work that is timed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fastweights.bench.gate import RULE, Shape
from fastweights.nn import FastWeightsRNNCell, SequenceModel
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import BACKENDS
from fastweights.optim import FlatAdamW
from fastweights.tasks import AssociativeRetrieval, Batch, answers
from fastweights.training.config import Config
from fastweights.training.loop import training_step
from fastweights.training.networks import FastWeights
from fastweights.training.setup import Setup

TASK = AssociativeRetrieval()  # its numbers of symbols and classes are taken
GATED = {"nn.LSTM": 2, "nn.GRU": 1}  # vectors of state
CELLS: dict[str, Callable[[int, int], nn.Module]] = {"nn.LSTM": nn.LSTMCell, "nn.GRU": nn.GRUCell}
MATRICES = {"nn.LSTM": 4, "nn.GRU": 3}  # hidden x hidden
LARGEST = 25_000_000  # parameters of a contender that is timed


@dataclass(frozen=True)
class Contender:
    """`kind` is a backend of RNN-LN-FW, nn.LSTM or nn.GRU; `size` its hidden units."""

    kind: str
    size: int
    equal_state: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind} of {self.size}" if self.equal_state else self.kind

    @property
    def is_ours(self) -> bool:
        return self.kind not in GATED

    @property
    def too_large(self) -> str | None:
        """Why it is not timed, where its state is as large as ours only at an unreasonable size."""
        parameters = 0 if self.is_ours else MATRICES[self.kind] * self.size**2
        if parameters <= LARGEST:
            return None
        return f"{parameters / 1e6:,.0f} million parameters: not timed"


def contenders(shape: Shape) -> tuple[list[Contender], dict[str, str]]:
    """The backends that can run, nn.LSTM and nn.GRU of the same size and of the same state; why others cannot."""
    reasons = {name: module.why_not(shape.call()) for name, module in BACKENDS.items()}
    found = [Contender(name, shape.hidden) for name, reason in reasons.items() if reason is None]
    found += [Contender(kind, shape.hidden) for kind in GATED]
    floats = shape.hidden + shape.hidden**2
    found += [Contender(kind, floats // vectors, equal_state=True) for kind, vectors in GATED.items()]
    return found, {name: reason for name, reason in reasons.items() if reason is not None}


def batch_of(shape: Shape, seed: int) -> Batch:
    """Random symbols and classes, as many as the demo's task has: the arithmetic is the same for any."""
    g, spec = torch.Generator().manual_seed(seed), TASK.spec
    symbols = torch.randint(spec.inputs, (shape.batch, shape.steps), generator=g)
    return Batch(symbols, torch.randint(spec.outputs, (shape.batch,), generator=g)).to(torch.device(shape.device))


def model_of(contender: Contender, shape: Shape, seed: int) -> SequenceModel:
    config = Config(hidden_size=contender.size, input_scale=1.0 if contender.equal_state else None)
    if contender.is_ours:
        network = FastWeights(RULE, inner_steps=shape.inner_steps, backend=contender.kind)
        setup = Setup("RNN-LN-FW", TASK, config, network)
    else:
        setup = Setup(contender.kind.replace("nn.", "torch.nn:"), TASK, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return setup.build().to(shape.device)


def training(contender: Contender, shape: Shape, seed: int) -> Callable[[], object]:
    """One update, at learning rate 0: every round does the same arithmetic."""
    model, batch = model_of(contender, shape, seed), batch_of(shape, seed)
    optimizer = FlatAdamW(model.parameters(), lr=0.0, clip=5.0)
    return lambda: training_step(answers, model, batch, optimizer)


def inference(contender: Contender, shape: Shape, seed: int) -> Callable[[], object]:
    model, batch = model_of(contender, shape, seed).eval(), batch_of(shape, seed)

    @torch.no_grad()
    def work() -> object:
        return model(batch.inputs)

    return work


def op(backend: str, shape: Shape, seed: int) -> Callable[[], object]:
    """The op alone, forward and backward."""
    leaves = inputs, recurrent, gain, bias = shape.arguments(seed, torch.float32)
    rule, gradient = RULE, torch.randn(leaves[0].shape, generator=torch.Generator().manual_seed(seed))
    gradient = gradient.to(shape.device)

    def work() -> object:
        outputs, _ = fast_weights_rnn(
            inputs, recurrent, gain, bias, rule=rule, inner_steps=shape.inner_steps, backend=backend, need_state=False
        )
        return torch.autograd.grad(outputs, leaves, gradient)

    return work


def matrix_products(shape: Shape) -> Callable[[], object]:
    """The slow recurrence bare: `steps` products [batch, hidden] x [hidden, hidden], three times (forward, and the
    gradients of its two factors)."""
    hidden = torch.randn(shape.batch, shape.hidden, device=shape.device)
    weights = torch.randn(shape.hidden, shape.hidden, device=shape.device)
    out = torch.empty_like(hidden)

    def work() -> None:
        for _ in range(3 * shape.steps):
            torch.mm(hidden, weights, out=out)

    return work


class Stream:
    """One token after the other through a cell at batch 1, the state carried along."""

    def __init__(self, contender: Contender, shape: Shape, seed: int) -> None:
        size = contender.size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if contender.is_ours:
                cell = FastWeightsRNNCell(
                    shape.hidden, size, rule=RULE, inner_steps=shape.inner_steps, backend=contender.kind
                )
            else:
                cell = CELLS[contender.kind](shape.hidden, size)
            self.tokens = [token.to(shape.device) for token in torch.randn(16, 1, shape.hidden).unbind()]
        self.cell, self.state, self.place = cell.to(shape.device), None, 0

    @torch.no_grad()
    def __call__(self) -> None:
        self.state = self.cell(self.tokens[self.place], self.state)
        self.place = (self.place + 1) % len(self.tokens)

    def state_bytes(self) -> int:
        """Of the tensors that are carried from one token to the next."""
        self()
        leaves: list[Tensor] = pytree.tree_leaves(self.state)
        return sum(tensor.numel() * tensor.element_size() for tensor in leaves)
