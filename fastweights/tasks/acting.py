"""What tasks of acting share: an episode that a model acts, and the loss that it learns from."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from fastweights.errors import UserError, shown
from fastweights.tasks.stats import Stats
from fastweights.tasks.task import Batch

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Generator, Tensor
    from torch.nn import Module

VALUE_SHARE = 0.5  # of the loss


class Step(NamedTuple):
    """What every episode gives back for an action."""

    seen: "Tensor"  # [batch, features], of the next step
    reward: "Tensor"  # [batch]
    over: "Tensor"  # [batch] bool: the episode ended with this step


def act(
    model: "Module | None",
    seen: "Tensor",
    move: "Callable[[Tensor], Step]",
    actions: int,
    most: int,
    generator: "Generator",
    greedy: bool = False,
) -> Batch:
    """Whole episodes, all side by side, with the state that the model carries; without a model they move at random.

    seen: [batch, features], the first observation. most: steps of the longest episode.
    Returns inputs [batch, time, features], targets [batch, time, 2] (action, reward), and the steps of each episode.
    """
    import torch

    at = next(model.parameters()).device if model is not None else seen.device
    state, inputs, targets = None, [], []
    going, lengths = torch.ones(len(seen), dtype=torch.bool), torch.zeros(len(seen), dtype=torch.long)
    step: Any = None if model is None else model.step
    with torch.no_grad():
        for _ in range(most):
            inputs.append(seen)
            if step is None:
                chances = torch.full((len(seen), actions), 1 / actions)
            else:
                answer, state = step(seen.to(at), state)
                chances = answer[:, :actions].softmax(-1).cpu()
            action = chances.argmax(-1) if greedy else torch.multinomial(chances, 1, generator=generator)[:, 0]
            seen, reward, over = move(action)
            targets.append(torch.stack([action.float(), torch.where(going, reward, 0.0)], 1))
            lengths = lengths + going.long()
            going = going & ~over
            seen = torch.where(going[:, None], seen, 0.0)
            if not going.any():
                break
    whole = bool((lengths == len(inputs)).all())
    return Batch(torch.stack(inputs, 1), torch.stack(targets, 1), None if whole else lengths)


def actor_critic(
    model: "Module", batch: Batch, actions: int, discount: float, entropy_share: float
) -> "tuple[Tensor, Stats]":
    r"""The loss of advantage actor-critic over whole episodes.

        R(t) = sum_s discount^(s-t) r(s);   advantage = R(t) - V(t)
        loss = -log p(a(t)) advantage + 1/2 (R(t) - V(t))^2 - entropy_share entropy, the mean over all steps

    No gradient goes through the advantage. Mnih et al. 2016 (https://arxiv.org/abs/1602.01783) learn so from many
    workers that do not wait for each other; these episodes are acted in lockstep.

    targets: [batch, time, 2], the actions and the rewards. The model gives [batch, time, actions + 1]: the logits of
    the actions, and the value V.
    """
    import torch

    inputs, targets, lengths = batch
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    if lengths is None:
        asked, answer = (
            torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device),
            model(inputs).flatten(0, 1),
        )
    else:
        asked = steps < lengths[:, None]
        answer = model(inputs, asked=asked, lengths=lengths)
    apart = (steps[:, None] - steps).clamp_min(0)
    weights = (discount**apart).tril().to(targets.dtype)  # [later step, earlier step]
    returns = (targets[..., 1] @ weights)[asked]
    log, value = answer[:, :actions].log_softmax(-1), answer[:, actions]
    taken = log.gather(-1, targets[..., 0][asked].long()[:, None])[:, 0]
    entropy = -(log.exp() * log).sum(-1)
    policy = -(taken * (returns - value.detach())).mean()
    loss = policy + VALUE_SHARE * (returns - value).square().mean() - entropy_share * entropy.mean()
    with torch.no_grad():
        count, episodes = torch.tensor(float(len(value))), torch.tensor(float(len(targets)))
        stats = {
            "loss": (loss.detach() * count, count),
            "reward": (targets[..., 1].sum(), episodes),
            "entropy": (entropy.sum(), count),
        }
    return loss, stats


def check_shares(**shares: float) -> None:
    """Raise unless each is a number from 0 to 1."""
    for name, value in shares.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UserError(f"{name}: got {shown(value)}, wanted a number from 0 to 1")
