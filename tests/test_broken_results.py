"""Results, run folders and searches that are damaged, copied, or cannot be written."""

import json
import re
import shutil

import pytest
from toy_runs import reproduce

from fastweights.training import run_folder


def test_a_copy_of_a_result_is_no_other_seed_and_what_was_there_is_told(toy, tmp_path, capsys):
    shutil.copytree(toy / "results/toy", tmp_path / "toy")
    for name in ("A-8-seed0.bak.json", "A-8-seed0 (copy).json", "A-8-seed00.json", "B-8-seed7.json"):
        shutil.copy(tmp_path / "toy/A-8-seed0.json", tmp_path / "toy" / name)
    code, out, err = reproduce(capsys, "toy", "--only", "A-8", "--seeds", 1, "--results", tmp_path)
    assert code == 0 and re.search(r"^A-8 .* 2 +\d", out, re.M), err
    assert "1 of the 2 runs of this table were there before" in out
    code, out, err = reproduce(capsys, "toy", "--only", "B-8", "--results", tmp_path)
    assert code == 2 and out == "" and "B-8-seed7.json: got no result of this cell and seed" in err


def test_results_that_cannot_be_written_are_refused_before_the_first_run(toy, tmp_path, capsys):
    (tmp_path / "file").touch()
    for extra in ([], ["--search"]):
        code, out, err = reproduce(
            capsys, "toy", "--run", tmp_path / "runs", "--results", tmp_path / "file", *extra
        )  # fmt: skip
        assert code == 2 and out == "" and "file/toy: got a file on the way there, wanted a folder" in err
    assert not (tmp_path / "runs").exists()


BROKEN = {
    "final": (run_folder.FINAL, "{}"),
    "lists": (run_folder.FINAL, "[]"),
    "config": (run_folder.CONFIG, "{}"),
    "timings": (run_folder.TIMINGS, ""),
    "rows": (run_folder.METRICS, None),
    "lock": (".lock", None),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_run_folder_that_is_broken_is_named_and_the_others_go_on(kind, toy, tmp_path, capsys):
    shutil.copytree(toy / "runs/toy/A-8-seed0", tmp_path / "A-8-seed0")
    name, content = BROKEN[kind]
    (tmp_path / "A-8-seed0" / name).unlink()
    if content is None:
        (tmp_path / "A-8-seed0" / name).mkdir()
    else:
        (tmp_path / "A-8-seed0" / name).write_text(content)
    code, out, err = reproduce(capsys, "toy", "--seeds", 1, "--run", tmp_path, "--results", tmp_path / "results")
    assert code == 2 and re.search(r"^B-8 +\d", out, re.M), err
    assert re.match(f"fastweights: error: A-8-seed0: .*{name}: got ", err.splitlines()[-1]), err


@pytest.mark.parametrize("file, name", [(run_folder.FINAL, "test_accuracy"), (run_folder.CONFIG, "parameters")])
def test_a_run_without_what_a_result_says_leaves_the_result_alone(file, name, toy, tmp_path, capsys):
    shutil.copytree(toy / "results/toy", tmp_path / "results/toy")
    shutil.copytree(toy / "runs/toy/B-8-seed0", tmp_path / "runs/B-8-seed0")
    path, kept = tmp_path / "runs/B-8-seed0" / file, (tmp_path / "results/toy/B-8-seed0.json").read_bytes()
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != name}))
    given = ["toy", "--only", "B-8", "--run", tmp_path / "runs", "--results", tmp_path / "results"]
    code, out, err = reproduce(capsys, *given)
    assert (
        code == 2
        and f"B-8-seed0: {name}: got None, wanted" in err.replace("test_error", "test_accuracy")
        and re.search(r"^B-8 +\d", out, re.M)
    )
    assert (tmp_path / "results/toy/B-8-seed0.json").read_bytes() == kept
    (tmp_path / "results/toy/B-8-seed0.json").unlink()
    (tmp_path / "results/toy/B-8-seed0.json").mkdir()
    code, out, err = reproduce(capsys, *given, "--run", tmp_path / "others")
    assert code == 2 and out == "" and "B-8-seed0.json: got a folder, wanted a regular file" in err
    assert not (tmp_path / "others").exists()  # said before anything is trained


@pytest.mark.parametrize("change", [
    {"test_error": None}, {"settings": [1]}, {"cell": ["x"]}, {"updates_to_99": "no"}, {"commit": 3}, {"machine": None},
    {"machine": {}}, {"versions": {}},
])  # fmt: skip
def test_a_broken_result_is_named_before_anything_is_trained(change, toy, tmp_path, capsys):
    shutil.copytree(toy / "results/toy", tmp_path / "toy")
    path = tmp_path / "toy/A-8-seed1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    code, out, err = reproduce(
        capsys, "toy", "--only", "A-8", "--seeds", 1, "--results", tmp_path, "--run", tmp_path / "runs"
    )
    assert (
        code == 2
        and out == ""
        and err.count("\n") == 1
        and re.search("A-8-seed1.json: .*got .*, in the result of a run; delete it", err)
    )
    assert not (tmp_path / "runs").exists()
    code, _, err = reproduce(capsys, "toy", "--only", "B-8", "--results", tmp_path)
    assert code == 0, err


@pytest.mark.parametrize("content", ["[]", "{}", '{"cells": {"A-8": 3}}', '{"cells": {"A-8": {"chosen": 2}}}'])
def test_a_broken_search_is_named(content, toy, tmp_path, capsys):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/search.json").write_text(content)
    code, out, err = reproduce(capsys, "toy", "--only", "A-8", "--results", tmp_path)
    assert code == 2 and out == "" and re.search("search.json: .*got .*, in the record of a search; delete it", err)
