from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fastweights.errors import UserError, shown
from fastweights.tasks.acting import Step, act, actor_critic, check_shares
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor
    from torch.nn import Module

ACTIONS = ("left", "stay", "right")


class Games:
    """Many games of Catch, side by side: a ball falls one row a frame, a paddle of two pixels moves below it.

    After frame `visible` the screen is blank. `move` takes an action of each game, an index into ACTIONS.
    """

    def __init__(self, size: int, visible: int, paddle: str, count: int, generator: "Generator") -> None:
        import torch

        self.size, self.visible, self.frame = size, visible, 0
        self.ball = torch.randint(size, (count,), generator=generator)
        start = torch.randint(size - 1, (count,), generator=generator)
        self.paddle = start if paddle == "random" else torch.full((count,), size // 2 - 1)

    def screen(self) -> "Tensor":
        """[count, size, size]: 1 where the ball and the paddle are, else 0."""
        import torch

        drawn = torch.zeros(len(self.ball), self.size, self.size)
        games = torch.arange(len(self.ball))
        drawn[games, self.frame, self.ball] = 1.0
        drawn[games, -1, self.paddle] = drawn[games, -1, self.paddle + 1] = 1.0
        return drawn

    def seen(self) -> "Tensor":
        """[count, size * size]: what the agent sees of it, which is blank after frame `visible`."""
        if self.frame < self.visible:
            return self.screen().flatten(1)
        return self.ball.new_zeros(len(self.ball), self.size * self.size).float()

    def move(self, action: "Tensor") -> Step:
        import torch

        self.paddle = (self.paddle + action - 1).clamp(0, self.size - 2)
        self.frame += 1
        over = self.frame == self.size - 1
        caught = (self.ball == self.paddle) | (self.ball == self.paddle + 1)
        reward = torch.where(caught, 1.0, -1.0) if over else torch.zeros(len(self.ball))
        return Step(self.seen(), reward, torch.full((len(self.ball),), over))


@dataclass(frozen=True)
class Catch:
    """Where will the ball land that was seen only at first?

    frame 1  . o . .      frame 3  . . . .      frame 4  . . . .
             . . . .               . . . .               . . . .
             . . . .               . o . .               . . . .     blank after frame `visible`
             . # # .               # # . .               . . . .     reward +1 where the ball meets the paddle, else -1

    The ball starts in a random column of the top row and falls one row a frame. The paddle, two pixels of the bottom
    row, moves left, moves right or stays. An episode has `size` frames; its only reward comes at the end.

    The agent is a network with 4 outputs: the logits of three actions, and the value. It acts whole episodes, and
    learns from them by advantage actor-critic (`fastweights.tasks.acting`).

    Paper: Ba et al. 2016, https://arxiv.org/abs/1610.06258, section 4.4. Where its paddle starts is not said.
    """

    NAME: ClassVar[str] = "catch"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "reward"
    BETTER: ClassVar[str] = "higher"
    ACTS: ClassVar[bool] = True
    ACTION_NAMES: ClassVar[tuple[str, ...]] = ACTIONS

    size: int = 16
    """Rows and columns of the screen (N); an episode has as many frames."""
    visible: int = 3
    """Frames that the agent sees (M); all others are blank."""
    paddle: Literal["centre", "random"] = "centre"
    """Where the paddle starts."""
    discount: float = 0.99
    """Of what comes a frame later."""
    entropy: float = 0.03
    """Weight of the entropy of the policy in the loss: with more, the agent tries more."""

    def __post_init__(self) -> None:
        check_integer("size", self.size, 3, 200)
        check_integer("visible", self.visible, 1, self.size)
        if self.paddle not in ("centre", "random"):
            raise UserError(f"paddle: got {shown(self.paddle)}, wanted centre or random")
        check_shares(discount=self.discount, entropy=self.entropy)

    @property
    def spec(self) -> Spec:
        return Spec(self.size**2, len(ACTIONS) + 1, symbols=False, every=True)

    @property
    def floors(self) -> Mapping[str, float]:
        """Of a paddle that stays: it catches 2 columns of `size`."""
        return {"reward": 4 / self.size - 1}

    def games(self, count: int, generator: "Generator") -> Games:
        """`count` games at their first frame."""
        return Games(self.size, self.visible, self.paddle, count, generator)

    def draw(self, count: int, generator: "Generator", model: "Module | None" = None) -> Batch:
        """`count` episodes: inputs [count, size - 1, size * size], targets [count, size - 1, 2] (action, reward)."""
        check_integer("count", count, 0)
        games = self.games(count, generator)
        return act(model, games.seen(), games.move, len(ACTIONS), self.size - 1, generator)

    def frames(self, actions: list[int], generator: "Generator") -> list[Any]:
        """The screens of an episode of `draw(1, generator)` before each action and at its end, bytes [size, size]."""
        import torch

        games = self.games(1, generator)
        shown = [games.screen()[0]]
        for action in actions:
            games.move(torch.tensor([action]))
            shown.append(games.screen()[0])
        return [(255 * screen).byte().numpy() for screen in shown]

    def loss(self, model: "Module", batch: Batch) -> Any:
        return actor_critic(model, batch, len(ACTIONS), self.discount, self.entropy)
