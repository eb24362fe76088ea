"""What a loss knows of its batch: sums and counts that add up over batches."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Tensor

Stats = Mapping[str, "tuple[Tensor, Tensor]"]  # name: (sum, count)
MOST_KEPT = 2**16  # numbers of a batch's logits; answers with more are counted at once


class Answered(Mapping[str, "tuple[Tensor, Tensor]"]):
    """Loss and accuracy of a batch of answers, which are counted when somebody asks.

    An update has no use for them: counted there, they took a twentieth of the time of a small network's update. To
    count those of many batches together costs as much as those of one.

    logits: [answers, classes]; targets: [answers]; loss: their mean.
    """

    def __init__(self, logits: "Tensor", targets: "Tensor", loss: "Tensor") -> None:
        self.kept = logits.detach(), targets, loss.detach()
        self.counted = count([self.kept]) if logits.numel() > MOST_KEPT else None

    def __getitem__(self, name: str) -> "tuple[Tensor, Tensor]":
        if self.counted is None:
            self.counted = count([self.kept])
        return self.counted[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("loss", "accuracy"))

    def __len__(self) -> int:
        return 2


def count(batches: "Sequence[tuple[Tensor, Tensor, Tensor]]") -> "dict[str, tuple[Tensor, Tensor]]":
    """Over batches of (logits, targets, mean loss) of one device."""
    import torch

    logits, targets = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    losses = torch.stack([loss for _, _, loss in batches]).double()
    counts = torch.tensor([len(targets) for _, targets, _ in batches], device=losses.device)
    right = (logits.argmax(1) == targets).sum()
    return {"loss": ((losses * counts).sum(), counts.sum()), "accuracy": (right, counts.sum())}


def add_up(several: Sequence[Stats]) -> dict[str, tuple[float, float]]:
    """The sums and counts of many batches together."""
    waiting = [stats.kept for stats in several if isinstance(stats, Answered) and stats.counted is None]
    others = [stats for stats in several if not (isinstance(stats, Answered) and stats.counted is None)]
    found: dict[str, tuple[float, float]] = {}
    for stats in [*others, *([count(waiting)] if waiting else [])]:
        for name, (total, number) in stats.items():
            before, counted = found.get(name, (0.0, 0.0))
            found[name] = before + float(total), counted + float(number)
    return found
