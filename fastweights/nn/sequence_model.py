import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook

from fastweights.errors import UserError
from fastweights.nn.arguments import embed
from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.nn.multi_level_rnn import MultiLevelRNN
from fastweights.ops.lengths import check_lengths
from fastweights.tasks import Spec


class SequenceModel(nn.Module):
    """Reads a sequence with any recurrent network and answers: after the last step, or at every step.

        features(t) = embedding(inputs(t));  h(t) = recurrent(features(t), h(t-1));  answer(t) = head(h(t))

    recurrent: called as `nn.GRU(..., batch_first=True)`: `output, state = recurrent(input, state)`.
    spec: what the task hands in and wants: symbols or vectors, how many, and how many numbers an answer has.
    embedding_sizes: () for one-hot symbols, or the vectors themselves, times `input_scale`; else linear layers (for
        symbols the first is a table) with a ReLU between two of them. The network's input_size is the last of them, or
        `spec.inputs`.
    linear_embeddings: no ReLU there, and `input_scale` multiplies the first layer's initial weights, not the inputs: a
        table learns at the rate of all weights, whatever the size of what it holds.
    embedding_relu: a ReLU behind the last of them, too.
    input_scale: None for the one that gives C x unit variance at first (see `unit_scale`).
    head_sizes: ReLU layers between the network and the answer.
    head_dropout: probability with which training sets a unit of h(t) to zero before the head (Srivastava et al. 2014,
        https://jmlr.org/papers/v15/srivastava14a.html); the others are divided by what is left, 1 - head_dropout.

    Symbols are embedded (and, for an answer after the last step, projected) once each and then looked up: the same
    numbers as step by step, for a fraction of the work. The head is computed only where it is asked. Non-recurrent
    weights start uniform in +-1/sqrt(fan out), biases at zero.

    Paper: the architecture of Ba et al. 2016, https://arxiv.org/abs/1610.06258, section 4.1, is embedding_sizes=(50,
    100), head_sizes=(100,).
    """

    def __init__(
        self,
        recurrent: nn.Module,
        spec: Spec,
        hidden_size: int,
        embedding_sizes: Sequence[int] = (),
        head_sizes: Sequence[int] = (),
        input_scale: float | None = None,
        linear_embeddings: bool = False,
        head_dropout: float = 0.0,
        embedding_relu: bool = False,
    ) -> None:
        super().__init__()
        if getattr(recurrent, "batch_first", True) is not True:
            kind = type(recurrent).__name__
            raise UserError(f"SequenceModel: got {kind} with batch_first=False, wanted one with batch_first=True")
        self.recurrent, self.spec, self.head_dropout = recurrent, spec, head_dropout
        self.backend = "torch"  # what ran the recurrence last
        self.embedding = layers((spec.inputs, *embedding_sizes), nn.Identity if linear_embeddings else nn.ReLU)
        if embedding_relu and embedding_sizes:
            self.embedding.append(nn.ReLU())
        self.head = layers((hidden_size, *head_sizes, spec.outputs))
        if input_scale is not None:
            scale = input_scale
        elif embedding_sizes and not linear_embeddings:
            scale = 1.0
        else:
            scale = unit_scale(spec, hidden_size, len(embedding_sizes))
        if linear_embeddings and embedding_sizes:
            with torch.no_grad():
                self.embedding[0].get_parameter("weight").mul_(scale)
            scale = 1.0
        self.input_scale, self.embeds = scale, bool(embedding_sizes)
        self._one_hot: Tensor | None = None  # a constant, and no buffer: those are all in the state_dict

    @property
    def features(self) -> Tensor:
        """[number of symbols, input_size]: what the recurrent network sees of each symbol."""
        one_hot = self._one_hot
        if one_hot is None:
            like = next(chain(self.head.parameters(), self.recurrent.parameters()))
            one_hot = torch.eye(self.spec.inputs, dtype=like.dtype, device=like.device) * self.input_scale
            if not torch.compiler.is_compiling() and type(like) is nn.Parameter:
                self._one_hot = one_hot
        return self.embedding(one_hot) if self.embeds else one_hot

    def _apply(self, *given: Any, **options: Any) -> Any:  # the weights go to another device, or another dtype
        self._one_hot = None
        return super()._apply(*given, **options)

    def _load_from_state_dict(self, *given: Any, **options: Any) -> None:  # with assign=True they do so, too
        self._one_hot = None
        super()._load_from_state_dict(*given, **options)

    def forward(
        self, inputs: Tensor, state: Any = None, *, asked: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """The answers: [batch, outputs] after the last step, or [batch, time, outputs] where `spec.every`.

        inputs: [batch, time] integers, or [batch, time, features]. asked: [batch, time], true where an answer is
        wanted: then they are [number asked, outputs], sample by sample. lengths: [batch], the steps of each sequence:
        the answer is that after the last of its own.
        """
        self._check(inputs)
        if asked is None and lengths is None and state is None and self.spec.symbols and not self.spec.every:
            return self._answer(self._last_of_symbols(inputs))
        output = self._outputs(self.look_up(inputs), state)
        if asked is not None:
            output = output[asked]
        elif not self.spec.every:
            last = -1 if lengths is None else check_lengths(lengths, output, least=1) - 1
            output = output[torch.arange(len(output), device=output.device), last]
        return self._answer(output)

    def step(self, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of every sample, [batch] symbols or [batch, features]: the answers [batch, outputs], the state."""
        self._check(inputs)
        output, state = self.recurrent(self.look_up(inputs[:, None]), *([] if state is None else [state]))
        return self._answer(output[:, 0]), state

    def _check(self, inputs: Any) -> None:
        if not isinstance(inputs, Tensor):
            raise UserError(f"SequenceModel: got inputs of type {type(inputs).__name__}, wanted a tensor")

    def look_up(self, inputs: Tensor) -> Tensor:
        """[batch, time, input_size]: what the recurrent network sees."""
        if self.spec.symbols:
            return embed(inputs, self.features)
        return self.embedding(inputs * self.input_scale)

    def _outputs(self, features: Tensor, state: Any) -> Tensor:
        """Those of all steps, [batch, time, hidden], without a state where the network knows that none is needed."""
        ours = any(type(self.recurrent).forward is kind.forward for kind in (FastWeightsRNN, MultiLevelRNN))
        options = {"need_state": False} if ours and "forward" not in vars(self.recurrent) else {}
        output = self.recurrent(features, *([] if state is None else [state]), **options)[0]
        self._note(getattr(self.recurrent, "ran", None) or "torch")
        return output

    def _last_of_symbols(self, symbols: Tensor) -> Tensor:
        by_symbol = symbol_reader(self.recurrent)
        if by_symbol is None:
            return self._outputs(self.look_up(symbols), None)[:, -1]
        last, ran = by_symbol(symbols, self.features)
        self._note(ran)
        return last

    def _note(self, ran: str | None) -> None:  # None: nobody knows, as where a program is traced
        if ran is not None and ran != self.backend:  # a module takes longer to set an attribute than to compare it
            self.backend = ran

    def _answer(self, hidden: Tensor) -> Tensor:
        if self.head_dropout and self.training:
            hidden = functional.dropout(hidden, self.head_dropout)
        return self.head(hidden)


def unit_scale(spec: Spec, hidden_size: int, embedding_layers: int = 0) -> float:
    """What one-hot symbols, or features of mean square 1, are multiplied by so that C x has unit variance.

    Weights uniform in +-1/sqrt(fan out) have variance 1 / (3 fan out): each layer divides the variance by 3, and C by
    the hidden units as well; a vector adds up the variances of its features.
    """
    summed = 1 if spec.symbols else spec.inputs
    return math.sqrt(3 ** (1 + embedding_layers) * hidden_size / summed)


def unit_embedding_scale(hidden_size: int, embedding_size: int) -> float:
    """What the rows of an `nn.Embedding` are multiplied by so that C x has unit variance: they have it themselves."""
    return math.sqrt(3 * hidden_size / embedding_size)


def symbol_reader(recurrent: nn.Module) -> Any:
    """`last_of_symbols`, where that is what a call of the network would give: it has one, and neither a forward of a
    class that inherits it nor a hook goes before."""
    for kind in type(recurrent).__mro__:
        if "last_of_symbols" in vars(kind):
            replaced = "forward" in vars(recurrent) or hooked(recurrent)
            return None if replaced else getattr(recurrent, "last_of_symbols", None)
        if "forward" in vars(kind):
            return None
    return None


def hooked(module: nn.Module) -> bool:
    """Whether somebody waits for a call of the module, or of one in it: it has to be called then."""
    if _has_any_global_hook():
        return True
    waiting = [module]
    while waiting:  # as module.modules(), which takes longer for one module than all of this
        each = waiting.pop()
        if each._forward_hooks or each._forward_pre_hooks or each._backward_hooks or each._backward_pre_hooks:
            return True
        if each._modules:
            waiting.extend(child for child in each._modules.values() if child is not None)
    return False


def layers(sizes: Sequence[int], between: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers between the sizes, a ReLU (or what else) between two of them."""
    modules: list[nn.Module] = []
    for before, after in pairwise(sizes):
        if modules:
            modules.append(between())
        linear = nn.Linear(before, after)
        bound = 1 / math.sqrt(after)
        nn.init.uniform_(linear.weight, -bound, bound)
        nn.init.zeros_(linear.bias)
        modules.append(linear)
    return nn.Sequential(*modules)
