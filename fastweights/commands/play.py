import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fastweights.commands.consoles import console
from fastweights.commands.opened import opened
from fastweights.commands.parsing import MaybeOwn, MaybePath, parse
from fastweights.errors import UnsupportedBackend, UserError
from fastweights.tasks.task import check_integer

BAR = 30  # columns
PIXELS = " .:#"  # of a screen in a terminal, by brightness
NUMBERS = 8  # of what it sees, in a terminal
WIDEST = 38  # columns of a screen in a terminal; larger pictures are for the GIF alone


@dataclass(frozen=True)
class Play:
    """Watch a trained agent act an episode, and what its memory attends to.

    Its actions are drawn by its probabilities, as in training.
    """

    model: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[MODEL]", help_behavior_hint="")] = None
    """The model, as it was trained; none: that of the only run there."""
    run: MaybePath = None
    """The run folder, or the folder above it; none: runs."""
    task: MaybeOwn = None
    """The task, or the environment package:Name, where that is your own; none: that of the run."""
    rule: MaybeOwn = None
    """The update rule, likewise; none: that of the run."""
    seed: int = 0
    """Of the episode: the same seed, the same episode."""
    gif: MaybePath = None
    """A GIF of it, too: pictures of an environment, which a terminal has no place for."""
    speed: float = 4.0
    """Frames a second, in a terminal and in the GIF."""


@dataclass(frozen=True)
class Episode:
    """What was acted: one entry a frame; the last frame has no action any more."""

    frames: list[Any] | None  # arrays of bytes, [height, width] or [height, width, 3]
    seen: Any  # [frames, features]
    actions: list[str]  # what each is called
    chances: list[float]  # the probability of each
    values: list[float]
    attention: Any  # [frames, frames], or None: there is none
    rewards: list[float]  # of each

    @property
    def reward(self) -> float:
        return sum(self.rewards)


def main(arguments: list[str]) -> None:
    options = parse(Play, arguments, "fastweights play")
    check_integer("--seed", options.seed, 0, 2**63 - 2)
    if not 0.1 <= options.speed <= 100:
        raise UserError(f"--speed {options.speed:g}: wanted a number from 0.1 to 100")
    if options.gif is not None:
        check_gif(options.gif)

    import torch

    torch.set_num_threads(1)
    model, task = opened(options)
    if not getattr(task, "ACTS", False):
        raise UserError(
            f"{task.NAME} is no task of acting, wanted one, such as catch; `fastweights sample` asks others"
        )
    episode = acted(model, task, options.seed)
    if options.gif is not None and episode.frames is None:
        raise UserError(
            f"--gif {options.gif}: got an environment without pictures (render_mode rgb_array), leave --gif out"
        )
    show(episode, options.speed)
    if options.gif is not None:
        from fastweights.commands.gif import write

        write(episode, options.gif, options.speed)
        print(options.gif)
    elif episode.frames is not None and not fits(episode.frames[0]):
        print("`--gif FILE` shows its pictures")


def check_gif(path: Path) -> None:
    from fastweights import files

    if path.suffix.lower() != ".gif":
        raise UserError(f"--gif {path}: wanted a name that ends in .gif")
    if files.exists(path):
        raise UserError(f"--gif {path}: already there; delete it, or choose another name")


def acted(model: Any, task: Any, seed: int) -> Episode:
    import torch

    draw = lambda: torch.Generator().manual_seed(seed)  # noqa: E731
    batch = task.draw(1, draw(), model)
    actions, rewards = batch.targets[0, :, 0].long().tolist(), batch.targets[0, :, 1]
    frames = task.frames(actions, draw()) if hasattr(task, "frames") else None
    with torch.no_grad():
        answers = model(batch.inputs)[0]
        attention = attended(model, batch.inputs)
    names = getattr(task, "ACTION_NAMES", None)
    told = [names[action] if names else f"action {action}" for action in actions]
    chances = answers[:, :-1].softmax(-1)[torch.arange(len(actions)), actions].tolist()
    return Episode(frames, batch.inputs[0], told, chances, answers[:, -1].tolist(), attention, rewards.tolist())


def attended(model: Any, inputs: Any) -> Any:
    """None: it reads no fast weights, or the read of its rule is no attention over the past."""
    from fastweights.nn import FastWeightsRNN

    if not isinstance(model.recurrent, FastWeightsRNN) or not model.recurrent.inner_steps:
        return None
    try:
        return model.recurrent.attention(model.look_up(inputs))[0]
    except UnsupportedBackend:
        return None


def show(episode: Episode, speed: float) -> None:
    """Frame by frame: in a terminal one in the place of the other, else one below the other."""
    from rich.live import Live
    from rich.text import Text

    texts = [frame_text(episode, frame) for frame in range(len(episode.actions))]
    if sys.stdout.isatty():
        with Live(console=console(), auto_refresh=False) as live:
            for text in texts:
                live.update(Text(text), refresh=True)
                time.sleep(1 / speed)
    else:
        print("\n\n".join(texts))
    print(f"reward {episode.reward:g}")


def frame_text(episode: Episode, frame: int) -> str:
    action, chance, value = episode.actions[frame], episode.chances[frame], episode.values[frame]
    first = f"frame {frame + 1}: {action} (probability {chance:.2f}, value {value:+.2f})"
    lines = [f"{first}, reward {episode.rewards[frame]:g}"]
    whole = None if episode.frames is None else episode.frames[frame]
    if whole is None or not fits(whole):
        seen = episode.seen[frame].tolist()
        more = f" ... ({len(seen)} numbers)" if len(seen) > NUMBERS else ""
        lines.append(f"  sees {' '.join(f'{number:.3g}' for number in seen[:NUMBERS])}{more}")
    else:
        hidden, seen = rows(whole), rows((episode.seen[frame].reshape(whole.shape).numpy() * 255).astype(whole.dtype))
        lines += [f"  {'the screen':<{len(hidden[0])}}   what it sees"]
        lines += [f"  {left}   {right}" for left, right in zip(hidden, seen, strict=True)]
    if episode.attention is not None:
        lines += attention_lines(episode.attention[frame, :frame])
    return "\n".join(lines)


def fits(screen: Any) -> bool:
    """Whether a terminal shows it."""
    return screen.ndim == 2 and screen.shape[1] <= WIDEST


def rows(screen: Any) -> list[str]:
    """A screen in characters; a pixel is two columns wide, so that it looks square."""
    levels = screen.astype(int) * (len(PIXELS) - 1) // 255
    return ["".join("· " if level == 0 else PIXELS[level] * 2 for level in row) for row in levels]


def attention_lines(weights: Any, most: int = 5) -> list[str]:
    """The frames that are attended to most."""
    if not len(weights):
        return ["  (nothing is stored yet)"]
    largest = max(float(weights.abs().max()), 1e-12)
    order = weights.abs().argsort(descending=True)[:most].sort().values.tolist()
    bars = [(place, float(weights[place])) for place in order]
    return [f"  attends to frame {place + 1:>3} {w:9.3f} {'#' * round(BAR * abs(w) / largest)}" for place, w in bars]
