"""Training where the answer is a sequence of its own: batches of like lengths, evaluation that decodes."""

from dataclasses import replace

import pytest
from small_runs import SMALL, train

from fastweights.commands.options import docs_of
from fastweights.errors import UserError
from fastweights.nn.memories import registered
from fastweights.tasks import TASKS
from fastweights.tasks.pairs import batch_of, judged
from fastweights.training import data, evaluation, source
from fastweights.training.description import load_run
from fastweights.training.networks import NETWORKS
from fastweights.training.pair_networks import Between
from fastweights.training.setup import Setup

REVERSE = TASKS["reverse"](symbols=3, trained=(1, 3), judged=(2, 4))


@pytest.mark.parametrize("model", [name for name, network in NETWORKS.items() if network.like_lstm])
def test_every_network_like_lstm_answers_with_a_sequence(model):
    batch = data.draw(REVERSE, 3, 1, 0).train
    built = Setup(model, REVERSE, replace(SMALL, hidden_size=4)).build()
    loss, _ = REVERSE.loss(built, batch)
    assert loss.isfinite() and len(evaluation.decoded(built, REVERSE, batch)) == 3


@pytest.mark.parametrize("model", ["GRU", "EncoderDecoder", "FastWeightsTransducer"])
def test_a_run_of_pairs_is_judged_by_what_it_answers(model, tmp_path):
    task = REVERSE
    config = replace(SMALL, epochs=1, train_size=64)
    row = train(model, config, tmp_path / "run", task)
    assert {"valid_loss", "valid_accuracy", "valid_symbol_error_rate", "valid_sequence_accuracy"} <= row.keys()
    loaded, asked, _ = load_run(tmp_path / "run")
    again = evaluation.evaluate(
        loaded, asked, evaluation.parts(data.draw(task, 64, config.valid_size, 0).valid, pairs=True)
    )
    assert again["sequence_accuracy"] == row["valid_sequence_accuracy"] and again["loss"] == row["valid_loss"]


def test_lines_of_one_source_are_judged_together_wherever_they_stand(monkeypatch):
    monkeypatch.setattr(evaluation, "DECODED_TOGETHER", 2)
    batch = batch_of([[0], [1], [1], [1], [1, 0]], [[0], [0], [1], [0, 1], [0]], 2)
    found = [judged(part, [[0], [0, 1], [0, 1], [0, 1]]) for part in evaluation.parts(batch, pairs=True)]
    assert found == [[(0, 1), (0, 2)], [(0, 1)]]


def test_the_help_lists_every_memory():
    assert all(f" {name}," in docs_of(Between)["memory"] for name in registered())
    with pytest.raises(UserError, match="unknown memory 'delt'; did you mean delta"):
        Setup("EncoderDecoder", TASKS["reverse"](), network=Between(memory="delt")).build()


def test_a_model_of_pairs_is_for_pairs(tmp_path):
    with pytest.raises(UserError, match="EncoderDecoder: got the task .*, wanted one whose answer is a sequence"):
        train("EncoderDecoder", SMALL, tmp_path / "run")
    with pytest.raises(UserError, match="PATCH-CONV: got a task whose answer is a sequence"):
        train("PATCH-CONV", SMALL, tmp_path / "run", TASKS["reverse"]())


def test_batches_of_like_lengths_are_all_of_the_set():
    drawn = data.draw(TASKS["reverse"](trained=(1, 9)), 100, 1, 0).train
    see = source.epochs(drawn, 16, 3, alike=True)

    def rows(batches):
        return [tuple(row[:n]) for b in batches for row, n in zip(b.inputs.tolist(), b.lengths.tolist(), strict=True)]

    first, second = (rows([see(k, None) for k in range(start, start + 6)]) for start in (0, 6))
    assert len(set(first)) >= 90 and set(first) <= set(rows([drawn])) and first != second
    assert all(int(see(k, None).lengths.max() - see(k, None).lengths.min()) <= 3 for k in range(6))
    assert all(see(k, None).inputs.shape[1] == see(k, None).lengths.max() for k in range(6))
    assert source.epochs(drawn, 16, 3, alike=True)(8, None).hash == see(8, None).hash
