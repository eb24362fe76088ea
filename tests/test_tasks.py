"""What holds for every task."""

import hashlib
import struct
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields

import pytest
import torch
from torch.nn import functional

from fastweights.errors import UserError
from fastweights.tasks import (
    NOTHING,
    TASKS,
    AssociativeRetrieval,
    Batch,
    Copying,
    Spec,
    answers,
    better,
    describe,
    has_text,
    make_task,
    places,
)
from fastweights.tasks.checks import check_batch
from fastweights.tasks.lines import to_lines
from fastweights.tasks.registry import why_no_task
from fastweights.tasks.task import little_endian
from fastweights.training import data

pytestmark = pytest.mark.usefixtures("made_up_pictures", "made_up_words")


every_task = pytest.mark.parametrize("kind", TASKS.values(), ids=TASKS)


DRAWN = {name: kind for name, kind in TASKS.items() if not hasattr(kind, "read")}  # the others stand in files


every_drawn_task = pytest.mark.parametrize("kind", DRAWN.values(), ids=DRAWN)


def draw(task, count=200, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


@every_task
def test_the_contract(kind):
    assert why_no_task(kind) is None and kind.__doc__.split("\n")[0].endswith("?")
    task = kind()
    assert task.METRIC in task.floors and better(task) == better(kind) in ("higher", "lower")
    assert isinstance(task.spec, Spec) and hash(task) == hash(kind())
    with pytest.raises(FrozenInstanceError):
        setattr(task, fields(task)[0].name, 1)


@every_drawn_task
def test_what_is_drawn_hangs_on_the_generator_alone(kind):
    torch.manual_seed(1)
    one = draw(kind())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert draw(kind()).hash == one.hash != draw(kind(), seed=1).hash
    assert torch.equal(torch.get_rng_state(), state)


@every_drawn_task
def test_what_is_drawn_fits_the_spec(kind):
    for count in (0, 1, 50):
        batch = draw(kind(), count)
        check_batch(kind(), batch)
        assert batch.size == count


def values_at_random(inputs):
    values = inputs[:, 1:-3:2] - 26
    return functional.one_hot(values, 10).sum(1).div(values.shape[1]).log().clamp(-100)


def at_random(outputs):
    return lambda inputs, asked=None: torch.zeros(len(inputs) if asked is None else int(asked.sum()), outputs)


def one_of_the_values(inputs, asked):
    """Any value of the sequence, which has them at the odd steps of its first half."""
    seen = functional.one_hot(inputs[:, 1:16:2], 64).sum(1)
    return seen.div(8).log().clamp(-100)[:, None].expand(-1, 8, -1).reshape(-1, 64)


def the_last_value(inputs, asked):
    """The likelier, the later it was written: 8 keys, 24 writes, of which the first 8 are of a key each."""
    later = torch.arange(23, -1, -1)
    chance = torch.where(later < 16, 0.875 ** later.clamp(max=16) / 8, 0.875**16 / 8)
    known = torch.zeros(len(inputs), 128).scatter_(1, inputs[:, 1:48:2], chance.float().expand(len(inputs), -1))
    return known.log().clamp(-100)[:, None].expand(-1, 8, -1).reshape(-1, 128)


def symbols_at_random(outputs, first=0):
    guess = torch.zeros(outputs)
    guess[:first], guess[outputs - 1] = -100.0, -100.0
    return lambda inputs, asked=None: guess.expand(len(inputs) if asked is None else int(asked.sum()), -1)


GUESSERS = {  # they know how often each answer is right, and no more
    "associative-retrieval": values_at_random,
    "copying": lambda inputs, asked: torch.zeros(int(asked.sum()), 8),
    "adding": lambda inputs: torch.ones(len(inputs), 1),
    "mqar": one_of_the_values,
    "overwritten-keys": the_last_value,
    "selective-copying": symbols_at_random(16, 1),
    "induction-heads": symbols_at_random(16),
    "parity": at_random(2),
    "modular-arithmetic": at_random(5),
    "word-problem": at_random(120),
}


@pytest.mark.parametrize("name", GUESSERS)
def test_floors_are_what_a_guesser_reaches(name):
    task = TASKS[name]()
    _, stats = task.loss(GUESSERS[name], draw(task, 20_000))
    assert {name: float(s / n) for name, (s, n) in stats.items()} == pytest.approx(task.floors, abs=0.01)


@pytest.mark.parametrize("kind", [TASKS[name] for name in GUESSERS])
def test_a_loss_without_sequences_counts_nothing(kind):
    task = kind()
    batch = draw(task, 0)
    model = torch.zeros(0, task.spec.outputs, requires_grad=True)
    loss, stats = task.loss(lambda *_, **__: model, batch)
    loss.backward()
    assert loss == 0 and all(float(s) == float(n) == 0 for s, n in stats.values())


@pytest.mark.parametrize("kind", [kind for kind in DRAWN.values() if not hasattr(kind, "ACTS")])
def test_written_and_read_bit_for_bit(kind, tmp_path):
    drawn = data.draw(kind(), 60, 20, seed=3)
    data.write(drawn, tmp_path, 3)
    found = data.load(tmp_path, kind())
    assert found.task == drawn.task and found.describe() == drawn.describe()
    for one, other in ((found.train, drawn.train), (found.valid, drawn.valid)):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
    alone = data.load(tmp_path / data.file_names(kind())[0], kind()).train
    kept = drawn.train.inputs[data.first_come(drawn.train) % 5 < 4 if kind().spec.pairs else torch.arange(60) % 5 < 4]
    assert torch.equal(alone.inputs, kept[:, : alone.inputs.shape[1]]) and not kept[:, alone.inputs.shape[1] :].any()


@every_task
def test_described_and_made_again(kind):
    task = kind()
    options = {name: value for name, value in asdict(task).items() if name not in places(task)}
    assert describe(task) == {"name": kind.NAME, "version": kind.VERSION, **options}
    assert make_task(describe(task)) == task == make_task({"name": kind.NAME})


@pytest.mark.parametrize("kind", [kind for kind in TASKS.values() if has_text(kind)], ids=lambda kind: kind.NAME)
def test_text_is_its_inputs_symbol_by_symbol(kind):
    task = kind()
    for inputs, line in zip((batch := draw(task, 20)).inputs, to_lines(task, batch), strict=True):
        text = task.decode(inputs)
        assert text == "".join(task.SYMBOLS[place] for place in inputs) and torch.equal(task.encode(text), inputs)
        assert line == f"{text},{task.answer(text)}" and kind.from_text(text, **asdict(task)) == task
    assert len(task.SYMBOLS) == task.spec.inputs and len(task.CLASSES) == task.spec.outputs


def test_tasks_are_known_without_torch():
    code = "import sys\nfrom fastweights.tasks import TASKS, find_task\nfind_task('copying')()\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# the loss of most tasks


def test_answers_at_the_end():
    logits = torch.randn(7, 5, requires_grad=True)
    batch = Batch(torch.zeros(7, 3, dtype=torch.int64), torch.tensor([0, 1, 2, 3, 4, 0, 1]))
    for smoothing in (0.0, 0.1):
        loss, stats = answers(lambda inputs: logits, batch, smoothing)
        assert torch.equal(loss, functional.cross_entropy(logits, batch.targets, label_smoothing=smoothing))
        assert stats["loss"][0].item() == pytest.approx(7 * loss.item()) and stats["loss"][1] == 7
        assert stats["accuracy"][0] == (logits.argmax(1) == batch.targets).sum() and stats["accuracy"][1] == 7
        assert not any(tensor.requires_grad or tensor.dim() for pair in stats.values() for tensor in pair)


def test_answers_at_some_steps():
    logits = torch.randn(4, 6, 5, requires_grad=True)
    targets = torch.randint(5, (4, 6))
    targets[torch.rand(4, 6) < 0.5] = NOTHING
    batch = Batch(torch.zeros(4, 6, dtype=torch.int64), targets)
    loss, stats = answers(lambda inputs, asked: logits[asked], batch)
    torch.testing.assert_close(
        loss, functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NOTHING)
    )
    assert (
        stats["accuracy"][1] == (targets != NOTHING).sum()
        and stats["accuracy"][0] == (logits.argmax(2) == targets).sum()
    )
    loss, stats = answers(
        lambda inputs, asked: logits[asked], batch._replace(targets=torch.full_like(targets, NOTHING))
    )
    assert loss == 0 and all(float(s) == float(n) == 0 for s, n in stats.values())


def test_lengths_are_given_to_the_model_where_there_are_some():
    lengths = torch.tensor([1, 3])
    seen = []

    def model(inputs, **options):
        seen.append(options)
        return torch.zeros(2, 4)

    batch = Batch(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]))
    answers(model, batch)
    answers(model, batch._replace(lengths=lengths))
    assert seen[0] == {} and list(seen[1]) == ["lengths"] and seen[1]["lengths"] is lengths


def test_the_count_is_usable_after_inference_mode():
    batch = Batch(torch.zeros(11, 3, dtype=torch.int64), torch.zeros(11, dtype=torch.int64))
    with torch.inference_mode():
        answers(lambda inputs: torch.zeros(11, 4), batch)
    (total, count) = answers(lambda inputs: torch.zeros(11, 4), batch)[1]["loss"]
    assert not count.is_inference() and not total.is_inference()


# batches and their hash


def test_the_hash_tells_every_bit():
    symbols = torch.tensor([[5, 7]])
    answer = torch.tensor([1])
    vectors = torch.tensor([[[0.0, 0.25]]])
    batches = [
        Batch(symbols, answer), Batch(symbols + 256, answer), Batch(symbols.int(), answer), Batch(symbols.T, answer),
        Batch(symbols, answer.int()), Batch(symbols, answer, torch.tensor([2])), Batch(symbols, answer, torch.tensor([1])),
        Batch(vectors, answer), Batch(-vectors, answer), Batch(vectors + torch.tensor([-0.0, 1e-7]), answer),
        Batch(torch.tensor([[[-0.0, 0.25]]]), answer), Batch(vectors.double(), answer), Batch(vectors.bfloat16(), answer),
    ]  # fmt: skip
    assert len({batch.hash for batch in batches}) == len(batches)
    assert Batch(symbols.clone(), answer).hash == Batch(symbols.repeat(2, 2)[::2, :2], answer).hash


def test_the_hash_is_of_the_lowest_byte_first():
    assert little_endian(torch.tensor([1, 256], dtype=torch.int16), swap=sys.byteorder == "big") == bytes([1, 0, 0, 1])
    swapped = torch.tensor([1, 256], dtype=torch.int16).numpy().byteswap()
    assert little_endian(torch.from_numpy(swapped), swap=True) == bytes([1, 0, 0, 1])
    words = [b"inputs int64 [1, 2]\n", struct.pack("<qq", 5, 7), b"targets int64 [1]\n", struct.pack("<q", -1)]
    assert Batch(torch.tensor([[5, 7]]), torch.tensor([-1])).hash == hashlib.sha256(b"".join(words)).hexdigest()


def test_sequences_are_selected_with_their_lengths():
    batch = Batch(torch.arange(12).reshape(4, 3), torch.arange(4), torch.tensor([1, 2, 3, 3]))
    for index in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False])):
        part = batch.select(index)
        assert part.size == 2 and part.lengths.tolist() == [2, 3] and part.inputs.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert batch._replace(lengths=None).select(slice(1)).lengths is None
    assert batch.to("meta").lengths.device.type == "meta" and batch._replace(lengths=None).to("cpu").lengths is None


@pytest.mark.parametrize(
    "task, change, says",
    [
        (Copying(2, 2), {"inputs": torch.full((3, 6), 10)}, "got 10 in the inputs, wanted symbols from 0 to 9"),
        (Copying(2, 2), {"inputs": torch.zeros(3, 6)}, r"got inputs of float32 \[3, 6\], wanted int64 \[batch, time\]"),
        (Copying(2, 2), {"targets": torch.full((3, 6), 8)}, "got 8 in the targets, wanted answers from 0 to 7 or NOTHING"),
        (Copying(2, 2), {"targets": torch.full((3, 5), 8)}, r"got targets of int64 \[3, 5\], wanted int64 \[batch, time\]"),
        (Copying(2, 2), {"targets": torch.full((2, 6), 8)}, r"got 3 inputs and \[2, 6\] targets, wanted as many"),
        (Copying(2, 2), {"lengths": torch.tensor([1, 7, 2])}, "got 7 in the lengths, wanted 1 to 6 steps"),
        (AssociativeRetrieval(), {"targets": torch.full((3,), NOTHING)}, "got -100 in the targets, wanted answers from 0 to 9$"),
        (TASKS["adding"](2), {"inputs": torch.zeros(3, 2, 3)}, r"got inputs of float32 \[3, 2, 3\], wanted .* \[batch, time, 2\]"),
        (TASKS["adding"](2), {"targets": torch.tensor([1, float("nan"), 1])}, "got nan in the targets, wanted finite numbers"),
    ],
)  # fmt: skip
def test_a_batch_that_does_not_fit_its_task(task, change, says):
    with pytest.raises(UserError, match=says):
        check_batch(task, draw(task, 3)._replace(**change))
