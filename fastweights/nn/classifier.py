import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook


class SequenceClassifier(nn.Module):
    """Reads a sequence of symbols with any recurrent network and names its class after the last one.

        features = embedding(symbol);  h(t) = recurrent(features(t), h(t-1));  logits = head(h(T))

    recurrent: called as `nn.GRU(..., batch_first=True)`: `output, state = recurrent(input)`.
    embedding_sizes: () for one-hot symbols times `input_scale`; else a learned table and then linear layers, a ReLU
        between two of them. The network's input_size is the last of them, or the number of symbols.
    linear_embeddings: no ReLU there, and `input_scale` multiplies the table's first values, not the symbols: a table
        learns at the rate of all weights, whatever the size of what it holds.
    head_sizes: ReLU layers between the network and the logits.
    head_dropout: probability with which training sets a unit of h(T) to zero before the head (Srivastava et al. 2014,
        https://jmlr.org/papers/v15/srivastava14a.html); the others are divided by what is left, 1 - head_dropout.

    Symbols are embedded (and, by `FastWeightsRNN`, projected) once each and then looked up: the same numbers as step
    by step, for a fraction of the work. Non-recurrent weights start uniform in +-1/sqrt(fan out), biases at zero.

    Paper: the architecture of Ba et al. 2016, https://arxiv.org/abs/1610.06258, section 4.1, is embedding_sizes=(50,
    100), head_sizes=(100,).
    """

    def __init__(
        self,
        recurrent: nn.Module,
        num_symbols: int,
        num_classes: int,
        hidden_size: int,
        embedding_sizes: Sequence[int] = (),
        head_sizes: Sequence[int] = (),
        input_scale: float = 1.0,
        linear_embeddings: bool = False,
        head_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.recurrent, self.head_dropout = recurrent, head_dropout
        self.backend = "torch"  # what ran the recurrence last
        self.embedding = layers((num_symbols, *embedding_sizes), nn.Identity if linear_embeddings else nn.ReLU)
        self.head = layers((hidden_size, *head_sizes, num_classes))
        if linear_embeddings and embedding_sizes:
            with torch.no_grad():
                self.embedding[0].get_parameter("weight").mul_(input_scale)
            input_scale = 1.0
        self.register_buffer("one_hot", torch.eye(num_symbols) * input_scale, persistent=False)

    @property
    def features(self) -> Tensor:
        """[number of symbols, input_size]: what the recurrent network sees of each symbol."""
        return self.embedding(self.one_hot)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: [batch, time] integers. Returns logits, [batch, classes]."""
        by_symbol = symbol_reader(self.recurrent)
        if by_symbol is None:
            output, state = self.recurrent(functional.embedding(tokens, self.features))
            last, ran = output[:, -1], getattr(state, "backend", "torch")
        else:
            last, ran = by_symbol(tokens, self.features)
        if ran != self.backend:  # a module takes longer to set an attribute than to compare it
            self.backend = ran
        if self.head_dropout and self.training:
            last = functional.dropout(last, self.head_dropout)
        return self.head(last)


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
    for each in module.modules():
        if each._forward_hooks or each._forward_pre_hooks or each._backward_hooks or each._backward_pre_hooks:
            return True
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
