from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from fastweights.commands.opened import opened
from fastweights.commands.parsing import parse
from fastweights.errors import UserError, plain

BAR = 30  # columns


@dataclass(frozen=True)
class Sample:
    """Ask a trained model: its answer, how sure it is, and what it attended to."""

    model: tyro.conf.Positional[str]
    """The model, as it was trained."""
    sequences: tyro.conf.Positional[tuple[str, ...]]
    """Sequences of its task, such as g5o8k1??g."""
    run: Path | None = None
    """The run folder (runs/MODEL), or the folder above it."""
    task: str | None = None
    """The task, where it is your own: package.module:Class."""
    rule: str | None = None
    """The update rule, likewise."""


def main(arguments: list[str]) -> None:
    options = parse(Sample, arguments, "fastweights sample")
    if not options.sequences:
        raise UserError("got no sequence, wanted at least one, as in `fastweights sample RNN-LN-FW 'g5o8k1??g'`")

    import torch

    torch.set_num_threads(1)
    model, task = opened(options)
    text: Any = task  # what a task with text has beyond the others
    if not all(hasattr(task, name) for name in ("CLASSES", "encode", "answer")):
        raise UserError(
            f"{task.NAME} has no text, wanted a task whose sequences can be written (SYMBOLS, encode, answer)"
        )
    encoded = [text.encode(each) for each in options.sequences]  # all are checked before one is answered
    for each, symbols in zip(options.sequences, encoded, strict=True):
        right = text.answer(each)
        with torch.no_grad():
            chances = model(symbols[None])[0].softmax(-1)
        chances = chances[-len(right) :] if task.spec.every else chances[None]
        best = chances.argmax(-1)
        answer = "".join(text.CLASSES[int(place)] for place in best)
        sure = float(chances.gather(-1, best[:, None]).prod())
        verdict = "right" if answer == right else f"wrong: {right}"
        print(plain(f"{each} -> {answer}   probability {sure:.4f}   {verdict}"))
        show_attention(model, symbols, text.decode(symbols))


def show_attention(model: Any, symbols: Any, text: str) -> None:
    """What the last step attended to, where the network reads fast weights."""
    from fastweights.ops.fast_weights_rnn import UnsupportedBackend

    attention = getattr(model.recurrent, "attention", None)
    if attention is None or model.recurrent.inner_steps == 0:
        print("  (this network reads no fast weights)")
        return
    try:
        print_attention(text, attention(model.look_up(symbols[None]))[0, -1])
    except UnsupportedBackend as error:
        print(f"  ({error})")


def print_attention(text: str, weights: Any) -> None:
    """A line for each symbol before the last: the weight that the last step gave to it."""
    largest = max(float(weights.abs().max()), 1e-12)
    print(f"  {'symbol':<8}weight given to it at the last step ({plain(text[-1])})")
    for symbol, weight in zip(text[:-1], weights.tolist(), strict=False):
        bar = "#" * round(BAR * abs(weight) / largest)
        print(f"  {plain(symbol):<8}{weight:9.3f} {bar}")
