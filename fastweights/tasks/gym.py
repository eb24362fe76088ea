import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.errors import UserError, shown
from fastweights.tasks.acting import Step, act, actor_critic, check_shares
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch and gymnasium are imported where they are used: the command line reads these fields without
    from torch import Generator, Tensor
    from torch.nn import Module

PACKAGES = {"popgym-": "popgym", "MiniGrid-": "minigrid", "BabyAI-": "minigrid", "fastweights/": "fastweights.rl"}
SEEDS = 2**31
GUESSED = 64  # episodes


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of gymnasium about an environment: what cannot be taken is an error here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"gymnasium\.")
        yield


@dataclass(frozen=True)
class Gym:
    """What is to be done next in an environment of gymnasium with discrete actions?

    observation  ->  action  ->  observation, reward  ->  action  ->  ...      until it ends, or `steps` are done

    An observation becomes one vector: what is discrete is one-hot, bytes are divided by 255, the parts of a Dict or a
    Tuple stand one behind the other, and texts are left out. An episode that is cut off counts as one that ends. The
    agent is that of `Catch`.

    Every episode begins by `reset(seed=...)`, with a seed from the generator. An environment that draws from elsewhere
    gives another run each time.
    """

    NAME: ClassVar[str] = "gym"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "reward"
    BETTER: ClassVar[str] = "higher"
    ACTS: ClassVar[bool] = True

    env: str = "CartPole-v1"
    """Name of the environment; package:Name imports the package that registers it."""
    steps: int = 200
    """Longest episode."""
    discount: float = 0.99
    """Of what comes a step later."""
    entropy: float = 0.03
    """Weight of the entropy of the policy in the loss: with more, the agent tries more."""

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, 1, 100_000)
        check_shares(discount=self.discount, entropy=self.entropy)
        if not isinstance(self.env, str) or not self.env:
            raise UserError(f"env: got {shown(self.env)}, wanted the name of an environment of gymnasium")

    @property
    def spec(self) -> Spec:
        game = games(self.env, 1)[0]
        return Spec(width(game.observation_space, self.env), actions(game, self.env) + 1, symbols=False, every=True)

    @property
    def floors(self) -> Mapping[str, float]:
        """Of actions at random, over 64 episodes."""
        return {"reward": at_random(self)}

    @property
    def ACTION_NAMES(self) -> list[str] | None:
        """As the environment calls its actions, where it does."""
        game = games(self.env, 1)[0]
        named = getattr(game.unwrapped, "get_action_meanings", list)()
        return [str(name) for name in named] if len(named) == actions(game, self.env) else None

    @quiet()
    def draw(self, count: int, generator: "Generator", model: "Module | None" = None) -> Batch:
        """`count` episodes: inputs [count, steps, features], targets [count, steps, 2] (action, reward), lengths."""
        check_integer("count", count, 0)
        import torch

        several = Several(self.env, count)
        seeds = torch.randint(SEEDS, (count,), generator=generator).tolist()
        return act(model, several.reset(seeds), several.move, several.actions, self.steps, generator)

    @quiet()
    def frames(self, actions: list[int], generator: "Generator") -> list[Any] | None:
        """What an episode of `draw(1, generator)` looks like before each action and at its end.

        None: the environment has no pictures. Each is an array [height, width, 3] of bytes.
        """
        import torch

        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # there is no window
        try:
            game = made(self.env, render_mode="rgb_array")
        except UserError:
            return None
        several = Several(self.env, 1, [game])
        several.reset(torch.randint(SEEDS, (1,), generator=generator).tolist())
        shown = [game.render()]
        for action in actions:
            several.move(torch.tensor([action]))
            shown.append(game.render())
        game.close()
        return shown

    def loss(self, model: "Module", batch: Batch) -> Any:
        return actor_critic(model, batch, self.spec.outputs - 1, self.discount, self.entropy)


@cache
def at_random(task: Gym) -> float:
    import torch

    rewards = task.draw(GUESSED, torch.Generator().manual_seed(0)).targets[..., 1]
    return round(float(rewards.sum()) / GUESSED, 4)


@cache
def games(name: str, count: int) -> list[Any]:
    """So many environments of a name, which are used again and again."""
    return [made(name) for _ in range(count)]


def made(name: str, **options: Any) -> Any:
    """An environment by its name, of a package that is imported for it."""
    try:
        import gymnasium  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("task gym: got no gymnasium, wanted it; `pip install 'fastweights[rl]'` brings it") from None
    from fastweights.own import import_named

    module, _, registered = name.rpartition(":")
    module = module or next((package for start, package in PACKAGES.items() if name.startswith(start)), "")
    try:
        if module:
            import_named(module)
        return gymnasium.make(registered, **options)
    except (Exception, SystemExit) as error:  # whatever somebody's package does
        said = " ".join(str(error).split())
        raise UserError(f"--env {name}: got {type(error).__name__}: {said:.200}; wanted a registered environment, or "
                        "package:Name where its package registers it") from error  # fmt: skip


def actions(game: Any, name: str) -> int:
    from gymnasium import spaces  # pyright: ignore[reportMissingImports]

    space = game.action_space
    if not isinstance(space, spaces.Discrete):
        raise UserError(f"--env {name}: got the actions {space}, wanted Discrete actions")
    return int(space.n)


def width(space: Any, name: str) -> int:
    """Numbers of an observation as one vector."""
    if not (parts := flat(space)):
        raise UserError(f"--env {name}: got the observations {space}, wanted numbers (Box, Discrete, MultiBinary, ...)")
    return sum(count for _, _, count in parts)


def flat(space: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any, int]]:
    """Where the parts of an observation lie that have numbers, their spaces, and how many numbers each has."""
    from gymnasium import spaces  # pyright: ignore[reportMissingImports]

    if isinstance(space, spaces.Dict):
        return [part for key, inner in space.spaces.items() for part in flat(inner, (*path, key))]
    if isinstance(space, spaces.Tuple):
        return [part for place, inner in enumerate(space.spaces) for part in flat(inner, (*path, place))]
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete):
        return [(path, space, spaces.flatdim(space))]
    return []


class Several:
    """Environments side by side; one that has ended waits for the others."""

    def __init__(self, name: str, count: int, given: list[Any] | None = None) -> None:
        self.name, self.games = name, given or games(name, count)
        first = games(name, 1)[0]
        self.parts, self.width = flat(first.observation_space), width(first.observation_space, name)
        self.actions, self.start = actions(first, name), int(first.action_space.start)
        self.over, self.at = [False] * count, 0

    def reset(self, seeds: list[int]) -> "Tensor":
        seen = [self.told(game.reset, seed=seed) for game, seed in zip(self.games, seeds, strict=True)]
        return self.vectors([self.first_of(found, 2)[0] for found in seen])

    def move(self, action: "Tensor") -> Step:
        import torch

        self.at += 1
        seen: list[Any] = []
        rewards = [0.0] * len(self.games)
        for place, (game, chosen) in enumerate(zip(self.games, action.tolist(), strict=True)):
            if self.over[place]:
                seen.append(None)
                continue
            found = self.first_of(self.told(game.step, self.start + chosen), 5)
            seen.append(found[0])
            rewards[place], self.over[place] = self.reward(found[1]), bool(found[2] or found[3])
        return Step(self.vectors(seen), torch.tensor(rewards), torch.tensor(self.over, dtype=torch.bool))

    def told(self, call: Any, *given: Any, **named: Any) -> Any:
        try:
            return call(*given, **named)
        except Exception as error:  # whatever an environment does
            said = " ".join(str(error).split())
            raise UserError(
                f"--env {self.name}: got {type(error).__name__}: {said:.200} in step {self.at}, wanted an environment "
                "that goes on to its end; it is in the environment"
            ) from error

    def first_of(self, found: Any, count: int) -> Any:
        if not isinstance(found, tuple) or len(found) != count:
            raise self.broken(f"{type(found).__name__} of {len(found) if isinstance(found, tuple) else 1}")
        return found

    def reward(self, given: Any) -> float:
        try:
            found = float(given)
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            raise self.broken(f"the reward {shown(given)}")
        return found

    def broken(self, got: str) -> UserError:
        wanted = "(observation, reward, terminated, truncated, info)" if self.at else "(observation, info)"
        return UserError(f"--env {self.name}: got {got} in step {self.at}, wanted {wanted}, as gymnasium has it")

    def vectors(self, seen: list[Any]) -> "Tensor":
        """[batch, width]; zeros where nothing is seen any more."""
        import numpy
        import torch
        from gymnasium import spaces  # pyright: ignore[reportMissingImports]

        found = numpy.zeros((len(seen), self.width), numpy.float32)
        for row, observation in zip(found, seen, strict=True):
            first = 0
            for path, space, count in self.parts if observation is not None else ():
                part: Any = observation
                try:
                    for key in path:
                        part = part[key]
                    numbers = numpy.asarray(spaces.flatten(space, part), numpy.float32)
                    row[first : first + count] = numbers / 255 if space.dtype == numpy.uint8 and count > 1 else numbers
                except Exception as error:  # whatever an environment hands out
                    raise self.broken(f"an observation that is none of its space {space}") from error
                first += count
        if not numpy.isfinite(found).all():
            raise self.broken("an observation that is not finite")
        return torch.from_numpy(found)
