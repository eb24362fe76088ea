import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fastweights.commands.opened import opened
from fastweights.commands.parsing import MaybeOwn, MaybePath, parse
from fastweights.errors import UserError, plain
from fastweights.training import networks, run_folder

BAR = 30  # columns
LONGEST = 100  # letters of a title


@dataclass(frozen=True)
class Sample:
    """Ask a trained model: its answer, how sure it is, and what it attended to."""

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[MODEL] SEQUENCE ...")]
    """Sequences of its task, such as g5o8k1??g; before them the model, if it is your own or one of several there."""
    run: MaybePath = None
    """The run folder, or the folder above it; none: runs."""
    task: MaybeOwn = None
    """The task, where it is your own; none: that of the run."""
    rule: MaybeOwn = None
    """The update rule, likewise; none: that of the run."""
    figure: MaybePath = None
    """Draw what its memory did with one sequence into this .png, .svg or .pdf; without a sequence, with a drawn one."""
    memory: MaybeOwn = None
    """The memory between encoder and decoder, likewise; none: that of the run."""


@dataclass(frozen=True)
class Named:
    """What `words` are: a model or none, and sequences."""

    model: str | None
    sequences: tuple[str, ...]
    run: Path | None
    task: str | None
    rule: str | None
    memory: str | None


def named(options: Sample) -> Named:
    """A first word that is a network, or the model or the folder of a run that is there, is no sequence."""
    root = options.run or Path("runs")
    runs = run_folder.find_runs(root)
    first, *others = options.words or ("",)
    is_model = (
        first in networks.NETWORKS
        or first in [folder.name for folder in runs]
        or bool(others and not runs)
        or any(run_folder.read_description(folder)["model"] == first for folder in runs)
    )
    return Named(
        first if is_model else None,
        tuple(others) if is_model else options.words,
        options.run,
        options.task,
        options.rule,
        options.memory,
    )


def main(arguments: list[str]) -> None:
    options = parse(Sample, arguments, "fastweights sample")
    asked = named(options)
    if options.figure is not None:
        check_figure(options.figure, asked.sequences)

    import torch

    from fastweights.tasks.lines import NO_ANSWER

    torch.set_num_threads(1)
    model, task = opened(asked)
    if not asked.sequences and options.figure is None:
        raise UserError(f"got no sequence, wanted one of {task.NAME}: {way_to_ask(task, asked)}")
    if task.spec.pairs:
        from fastweights.commands.sample_pairs import answer_each

        if options.figure is not None:
            raise UserError(f"--figure: got a run of {task.NAME}, whose answers are sequences; leave it out")
        return answer_each(model, task, asked.sequences)
    if options.figure is not None:
        save_figure(options.figure, model, task, asked.sequences)
        if not asked.sequences:
            return
    text: Any = task  # what a task with text has beyond the others
    if not all(hasattr(task, name) for name in ("CLASSES", "encode")):
        raise UserError(f"{task.NAME} has no text, in which sequences could be written: {way_to_ask(task, asked)}")
    try:
        encoded = [text.encode(each) for each in asked.sequences]  # all are checked before one is answered
    except UserError:
        if asked.model is None and len(asked.sequences) > 1:
            networks.network_of(asked.sequences[0])  # a model's name with a slip of the pen is no sequence either
        raise
    for each, symbols in zip(asked.sequences, encoded, strict=True):
        right = text.answer(each) if hasattr(task, "answer") else None
        with torch.no_grad():
            chances = model(symbols[None])[0].softmax(-1)
        chances = chances[-len(right or chances) :] if task.spec.every else chances[None]
        asked = [wanted != NO_ANSWER for wanted in right or "?" * len(chances)]
        between = " " if getattr(task, "separated", False) else ""
        best = zip(chances.argmax(-1).tolist(), asked, strict=True)
        answer = between.join(text.CLASSES[place] if here else NO_ANSWER for place, here in best)
        sure = float(chances.amax(-1)[torch.tensor(asked)].prod())
        judged = "" if right is None else "   right" if answer == right else f"   wrong: {right}"
        print(plain(f"{each} -> {answer}   probability {sure:.4f}{judged}"))
        show_attention(model, symbols, text.tokens(each) if hasattr(task, "tokens") else text.decode(symbols))


def way_to_ask(task: Any, asked: Named) -> str:
    """A command that asks about this run."""
    from fastweights.training.source import generator_of

    which = f" {shlex.quote(asked.model)}" if asked.model else ""
    where = f" --run {shlex.quote(str(asked.run))}" if asked.run else ""
    if getattr(task, "ACTS", False):
        return f"`fastweights play{which}{where}` shows an episode"
    if not hasattr(task, "source" if task.spec.pairs else "encode"):
        return f"`fastweights sample{which}{where} --figure memory.png` draws one"
    drawn = task.draw(1, generator_of(0))
    inputs = drawn.inputs[0] if drawn.lengths is None else drawn.inputs[0, : drawn.lengths[0]]
    text = task.source.decode(inputs.tolist()) if task.spec.pairs else task.decode(inputs)
    return f"`fastweights sample{which} {shlex.quote(text)}{where}`"


def check_figure(path: Path, sequences: Sequence[str]) -> None:
    """Before torch is there."""
    from fastweights.explorer import figure

    if len(sequences) > 1:
        raise UserError(f"--figure {path}: got {len(sequences)} sequences, wanted one, or none: one is drawn then")
    figure.check(path)


def save_figure(path: Path, model: Any, task: Any, sequences: Sequence[str]) -> None:
    from fastweights.explorer import figure
    from fastweights.training.looking import trace_sequence
    from fastweights.training.source import generator_of

    if hasattr(task, "picture"):
        return save_glimpses(path, model, task, sequences)
    trace = trace_sequence(model, task, sequences[0] if sequences else task.draw(1, generator_of(0), model))
    floor = task.floors.get("accuracy") if trace.classified else None
    answer = f" -> {trace.answer}" if trace.classes is not None else ""
    said = plain(f"{'' if trace.symbols is None else ''.join(trace.symbols)}{answer}")
    figure.save(figure.draw(trace, f"{task.NAME}   {said}"[:LONGEST], floor), path)
    print(plain(str(path)))


def save_glimpses(path: Path, model: Any, task: Any, sequences: Sequence[str]) -> None:
    """Of a task whose sequences are glimpses of a picture; one that is tested is drawn."""
    import torch

    from fastweights.explorer import figure, glimpse_figure
    from fastweights.training.source import generator_of

    if sequences:
        raise UserError(f"--figure {path}: got a sequence, wanted none: {task.NAME} has pictures, and one is drawn")
    batch = task.held_out("test", 1, generator_of(0))
    attends = getattr(model.recurrent, "attention", None)
    with torch.no_grad():
        chances = model(batch.inputs)[0].softmax(-1)
        attention = None if attends is None else attends(model.look_up(batch.inputs))[0]
    classes = task.class_names
    answer = f"{classes[int(chances.argmax())]}, probability {float(chances.max()):.4f}"
    title = plain(f"{task.NAME}   right: {classes[int(batch.targets[0])]}; answer: {answer}")
    figure.save(glimpse_figure.draw(task, batch.inputs[0], attention, title), path)
    print(plain(str(path)))


def show_attention(model: Any, symbols: Any, tokens: Sequence[str]) -> None:
    """What the last step attended to, where the network can say."""
    from fastweights.errors import UnsupportedBackend
    from fastweights.nn import FastWeightsRNN

    attention = getattr(model.recurrent, "attention", None)
    if attention is None:
        kind = type(model.recurrent).__name__
        print(f"  ({kind} has no method attention(input), which would say what the last step attended to)")
        return
    if isinstance(model.recurrent, FastWeightsRNN) and model.recurrent.inner_steps == 0:
        print("  (this network reads no fast weights)")
        return
    try:
        print_attention(tokens, attention(model.look_up(symbols[None]))[0, -1])
    except UnsupportedBackend as error:
        print(f"  ({error})")


def print_attention(tokens: Sequence[str], weights: Any) -> None:
    """A line for each symbol before the last: the weight that the last step gave to it."""
    largest = max(float(weights.abs().max()), 1e-12)
    print(f"  {'symbol':<8}weight given to it at the last step ({plain(tokens[-1])})")
    for symbol, weight in zip(tokens[:-1], weights.tolist(), strict=False):
        bar = "#" * round(BAR * abs(weight) / largest)
        print(f"  {plain(symbol):<8}{weight:9.3f} {bar}")
