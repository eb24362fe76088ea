"""An episode as a GIF: the screen, what the agent sees of it, and the frames that its memory attends to."""

from pathlib import Path
from typing import Any

from fastweights.commands.play import Episode

SIDE = 240  # points of a panel
EDGE = 12
BACK, INK, PALE = (250, 250, 248), (38, 70, 140), (222, 222, 226)
POSITIVE, NEGATIVE = (38, 70, 140), (200, 90, 20)


def write(episode: Episode, path: Path, speed: float) -> None:
    from io import BytesIO

    from fastweights import files

    assert episode.frames is not None
    pictures = [picture(episode, frame) for frame in range(len(episode.frames))]
    content = BytesIO()
    durations = [round(1000 / speed)] * (len(pictures) - 1) + [1500]
    pictures[0].save(content, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    files.write(path, content.getvalue())


def picture(episode: Episode, frame: int) -> Any:
    """One frame: panels side by side, titles above, the attention below."""
    from PIL import Image, ImageDraw

    assert episode.frames is not None
    whole = episode.frames[frame]
    panels = [("the screen", panel(whole))]
    if whole.ndim == 2:
        over = frame >= len(episode.seen)
        seen = whole * 0 if over else (episode.seen[frame].reshape(whole.shape).numpy() * 255).astype(whole.dtype)
        panels.append(("what it sees", panel(seen)))
    width = EDGE + len(panels) * (SIDE + EDGE)
    height = 30 + SIDE + EDGE + (96 if episode.attention is not None else 22)
    drawn = Image.new("RGB", (max(width, SIDE + 2 * EDGE), height), BACK)
    draw = ImageDraw.Draw(drawn)
    for place, (title, each) in enumerate(panels):
        left = EDGE + place * (SIDE + EDGE)
        draw.text((left, 10), title, fill=INK)
        drawn.paste(each, (left, 28))
        draw.rectangle((left - 1, 27, left + SIDE, 28 + SIDE), outline=PALE)
    below = 28 + SIDE + 8
    if frame == len(episode.actions):
        draw.text((EDGE, below), f"reward {episode.reward:g}", fill=INK)
    else:
        told = f"frame {frame + 1}: {episode.actions[frame]}   value {episode.values[frame]:+.2f}"
        draw.text((EDGE, below), told, fill=INK)
        if episode.attention is not None:
            bars(draw, episode.attention[frame, :frame].tolist(), len(episode.actions), width, below + 18)
    return drawn


def panel(screen: Any) -> Any:
    from PIL import Image

    if screen.ndim == 2:
        shown = Image.fromarray(screen.astype("uint8")).point(lambda level: 255 - level)
        return shown.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return Image.fromarray(screen.astype("uint8")).resize((SIDE, SIDE))


def bars(draw: Any, weights: list[float], count: int, width: int, top: int) -> None:
    """The weight that each earlier frame gets, upwards; blue: positive, orange: negative."""
    draw.text((EDGE, top), "attends to earlier frames", fill=INK)
    foot, high = top + 60, 40
    draw.line((EDGE, foot, width - EDGE, foot), fill=PALE)
    largest = max((abs(weight) for weight in weights), default=0.0) or 1.0
    wide = (width - 2 * EDGE) / max(count, 1)
    for place, weight in enumerate(weights):
        left = EDGE + place * wide
        fill = POSITIVE if weight >= 0 else NEGATIVE
        draw.rectangle((left + 1, foot - high * abs(weight) / largest, left + wide - 1, foot), fill=fill)
