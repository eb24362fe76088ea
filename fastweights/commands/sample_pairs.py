"""What a trained model answers to a source, where the answer is a sequence of its own."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from fastweights.commands.tables import print_table
from fastweights.errors import UserError, plain

MOST_COLUMNS = 24  # symbols of a source that are shown beside each other


def answer_each(model: Any, task: Any, texts: Sequence[str]) -> None:
    """Each source with its answer, how probable the model finds it, and what each symbol of it attended to."""
    if not (hasattr(task, "source") and hasattr(task, "target")):
        raise UserError(f"{task.NAME} has no text, wanted a task whose pairs can be written (source, target)")
    sources = [task.source.encode(text) for text in texts]  # all are checked before one is answered
    for text, source in zip(texts, sources, strict=True):
        answer_one(model, task, text, source)


def answer_one(model: Any, task: Any, text: str, source: list[int]) -> None:
    import torch

    from fastweights.decoding import attended, greedy
    from fastweights.training.evaluation import longest_answer

    inputs = torch.tensor([source])
    symbols, lengths, scores = greedy(model, inputs, limit=longest_answer(task, len(source)))
    answer = symbols[0, : int(lengths[0])].tolist()
    right = task.references(source) if hasattr(task, "references") else []
    told = ", or ".join(task.target.decode(each) for each in right)
    judged = f"   {'right' if answer in right else f'wrong: {told}'}" if right else ""
    print(plain(f"{text} -> {task.target.decode(answer)}   probability {float(scores[0].exp()):.4f}{judged}"))
    if not answer:
        print("  (the answer has no symbols)")
        return
    weights = attended(model, inputs, symbols[:, : len(answer)])
    if weights is None:
        print(f"  (nothing is known of what a symbol attended to: {why_not(model)})")
        return
    print_table(attention([task.target.names[symbol] for symbol in answer], task.source.tokens(text), weights[0]))


def why_not(model: Any) -> str:
    memory = getattr(model, "memory", None)
    if memory is not None:
        return f"what {type(memory).__name__} reads is no sum over the source"
    return f"{type(model.recurrent).__name__} has no method attention(input)"


def attention(answer: Sequence[str], source: Sequence[str], weights: Any) -> Table:
    """A line for each symbol of the answer: the weight of each symbol of the source in what it read."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown = min(len(source), MOST_COLUMNS)
    table.add_column("  read for", no_wrap=True)
    for token in source[:shown]:
        table.add_column(plain(token), justify="right", no_wrap=True)
    for symbol, row in zip(answer, weights.tolist(), strict=True):
        table.add_row(f"  {plain(symbol)}", *(f"{weight:.2f}" for weight in row[:shown]))
    return table
