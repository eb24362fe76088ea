from dataclasses import dataclass
from pathlib import Path

import tyro

from fastweights.cli import parse
from fastweights.config import near

BAR = 30  # columns


@dataclass(frozen=True)
class Sample:
    """Ask a trained model: its answer, how sure it is, and what it attended to."""

    model: tyro.conf.Positional[str]
    """The model, as it was trained."""
    sequences: tyro.conf.Positional[tuple[str, ...]]
    """Such as g5o8k1??g."""
    run: Path | None = None
    """The run folder (runs/MODEL), or the folder above it."""


def main(arguments: list[str]) -> None:
    options = parse(Sample, arguments, "fastweights sample")
    if not options.sequences:
        raise ValueError("got no sequence, wanted at least one, as in `fastweights sample RNN-LN-FW g5o8k1??g`")

    import torch

    from fastweights.nn.models import check_model
    from fastweights.ops.fast_weights_rnn import UnsupportedBackend
    from fastweights.tasks import make_task
    from fastweights.training import load_run

    check_model(options.model)
    torch.set_num_threads(1)
    model, described = load_run(find(options.run, options.model), options.model)
    task = make_task(described["task"])
    encoded = [task.encode(text) for text in options.sequences]  # all are checked before one is answered
    for text, tokens in zip(options.sequences, encoded, strict=True):
        with torch.no_grad():
            chances = model(tokens[None])[0].softmax(0)
        best = int(chances.argmax())
        right = task.answer(text)
        verdict = "right" if task.CLASSES[best] == right else f"wrong: {right}"
        print(f"{text} -> {task.CLASSES[best]}   probability {chances[best]:.4f}   {verdict}")
        attention = getattr(model.recurrent, "attention", None)
        if attention is None or model.recurrent.inner_steps == 0:
            print("  (this network reads no fast weights)")
            continue
        try:
            print_attention(text, attention(model.features[tokens][None])[0, -1])
        except UnsupportedBackend as error:
            print(f"  ({error})")


def print_attention(text: str, weights) -> None:
    """A line for each symbol before the last: the weight that the last step gave to it."""
    largest = max(float(weights.abs().max()), 1e-12)
    print(f"  {'symbol':<8}weight given to it at the last step ({text[-1]})")
    for symbol, weight in zip(text[:-1], weights.tolist(), strict=False):
        bar = "#" * round(BAR * abs(weight) / largest)
        print(f"  {symbol:<8}{weight:9.3f} {bar}")


def find(run: Path | None, model: str) -> Path:
    from fastweights.runs import CONFIG, RunError

    root = run or Path("runs")
    name = model.replace(":", "-")
    for folder in [root, root / name] if run else [root / name]:
        if (folder / CONFIG).exists():
            return folder
    there = [path.parent.name for path in root.glob(f"*/{CONFIG}")]
    hint = near(name, there) if there else ""
    raise RunError(
        f"got no run of {model} in {root}{hint}; train it with `fastweights train {model}`, or name its --run"
    )
