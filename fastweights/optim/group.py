"""Which parameters learn how, as data: a pattern of their names, and settings. Without torch."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from fastweights.errors import UserError

if TYPE_CHECKING:
    from torch import nn

KINDS = ("adam", "soap")


@dataclass(frozen=True)
class Group:
    """How the parameters learn whose names a pattern matches.

    Of several groups, the first whose pattern matches a name has the parameter. A parameter that no pattern matches
    learns as the defaults say.

        [Group(r"embedding\\.0\\.weight", decay=0.25), Group(r"embedding\\..*", share=0.1)]

    It differs from a param group of torch.optim by naming parameters instead of holding them. So it can be written
    down before there is a model.
    """

    pattern: str
    """A regular expression, which must match the whole name of a parameter (re.fullmatch)."""
    share: float = 1.0
    """What the learning rate is multiplied by."""
    decay: float = 0.0
    """Weight decay as AdamW's, times the learning rate and the share; of biases too where the pattern matches them."""
    kind: Literal["adam", "soap"] = "adam"
    """soap: SOAP updates the matrices of the group; its other parameters learn by Adam, share and decay unchanged."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UserError(
                f"Group: got the pattern {self.pattern!r}, which is no regular expression ({error}); "
                r"wanted one such as 'head\..*'"
            ) from None
        for name in ("share", "decay"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise UserError(f"Group {self.pattern!r}: got {name}={value!r}, wanted a finite number >= 0")
        if self.kind not in KINDS:
            raise UserError(f"Group {self.pattern!r}: got kind={self.kind!r}, wanted one of {', '.join(KINDS)}")


def parameter_groups(module: "nn.Module", groups: Sequence[Group], learning_rate: float) -> list[dict[str, Any]]:
    """The parameters of `module` as param groups, for FlatAdamW or an optimizer of torch.optim.

    They keep the order of the module: neighbours of equal settings are one param group, which holds

        params, lr = share * learning_rate, share, weight_decay = decay, kind

    A loop with its own schedule sets `group["lr"] = group["share"] * rate` before a step. Parameters that do not
    require gradients are left out. Only a matrix (`dim() == 2`) has the kind soap. Share and decay hold for whatever
    a pattern matches: where biases are not to decay, it should end in `weight`.
    """
    named = list(module.named_parameters())
    others = Group("")
    owners = [next((g for g in groups if re.fullmatch(g.pattern, name)), others) for name, _ in named]
    for group in groups:
        if not any(owner is group for owner in owners):
            taken = any(re.fullmatch(group.pattern, name) for name, _ in named)
            got = "only parameters that earlier patterns have" if taken else "no parameter"
            names = ", ".join(name for name, _ in named)
            out = "put it before them" if taken else f"the names are {names}"
            raise UserError(f"Group {group.pattern!r}: matches {got}, wanted at least one of its own; {out}")
    settings = [
        (owner.share, owner.decay, owner.kind if parameter.dim() == 2 else "adam")
        for (_, parameter), owner in zip(named, owners, strict=True)
    ]
    learning = [(p, own) for (_, p), own in zip(named, settings, strict=True) if p.requires_grad]
    return [
        {
            "params": [parameter for parameter, _ in neighbours],
            "lr": share * learning_rate,
            "share": share,
            "weight_decay": decay,
            "kind": kind,
        }
        for (share, decay, kind), neighbours in groupby(learning, key=lambda pair: pair[1])
    ]
