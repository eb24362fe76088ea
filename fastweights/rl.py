"""Environments of this library for gymnasium (extra `[rl]`): an import registers them.

    import fastweights.rl
    game = gymnasium.make("fastweights/Catch-v0", size=16, visible=3, render_mode="ansi")

`gymnasium.make("fastweights.rl:fastweights/Catch-v0")` needs no import.
"""

from typing import Any

import gymnasium  # pyright: ignore[reportMissingImports]
import numpy
import torch
from gymnasium import spaces  # pyright: ignore[reportMissingImports]

from fastweights.errors import UserError
from fastweights.tasks.catch import ACTIONS, Catch, Games

PIXEL = 16  # points of a rendered pixel a side
METADATA: dict[str, Any] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}


class CatchGame(gymnasium.Env[Any, Any]):
    """One game of `fastweights.tasks.Catch`: its rules are those of the task, whose options it takes.

    Observations: float32 [size, size], 1 where ball and paddle are, and all 0 after frame `visible`. Actions: 0 left,
    1 stay, 2 right. The reward is +1 or -1 with the last frame, else 0. `render` shows the screen that is hidden.
    """

    metadata = METADATA

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode: got {render_mode!r}, wanted rgb_array or ansi")
        self.render_mode, self.task = render_mode, Catch(**options)
        size = self.task.size
        self.observation_space = spaces.Box(0.0, 1.0, (size, size), numpy.float32)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.games: Games | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**31)))
        self.games = self.task.games(1, generator)
        return self._seen(self.games.seen()), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.games is None or self.games.frame == self.task.size - 1:
            raise UserError("step: got no game under way, wanted reset() first")
        if not self.action_space.contains(action):
            raise UserError(f"step: got the action {action!r}, wanted an integer from 0 to {len(ACTIONS) - 1}")
        step = self.games.move(torch.tensor([int(action)]))
        over = bool(step.over[0])
        found = self._seen(step.seen), float(step.reward[0]), over, False, {}
        return found

    def _seen(self, seen: torch.Tensor) -> Any:
        return seen.view(self.task.size, self.task.size).numpy()

    def render(self) -> Any:
        if self.games is None:
            raise UserError("render: got no game under way, wanted reset() first")
        screen = self.games.screen()[0]
        if self.render_mode == "ansi":
            return "\n".join("".join("#" if pixel else "." for pixel in row) for row in screen.tolist())
        if self.render_mode == "rgb_array":
            points = (screen * 255).byte().repeat_interleave(PIXEL, 0).repeat_interleave(PIXEL, 1)
            return points[..., None].expand(-1, -1, 3).contiguous().numpy()
        return None


gymnasium.register("fastweights/Catch-v0", entry_point=CatchGame)
