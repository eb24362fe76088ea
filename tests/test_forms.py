"""What is read is held to a form, and what is printed steers no terminal."""

import json
import re
import shutil
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

import pytest

from fastweights import cli, files
from fastweights.errors import UserError, in_one_line
from fastweights.forms import fault
from fastweights.training import run_folder

TINY = "--hidden-size 8 --epochs 2 --train-size 128 --valid-size 64 --batch-size 64".split()


@dataclass(frozen=True)
class Inner:
    rate: float | None = None
    sizes: tuple[int, ...] = ()


class Outer(TypedDict):
    name: str
    way: Literal["up", "down"]
    inner: NotRequired[Inner]
    floors: NotRequired[dict[str, float]]


GOOD = {"name": "x", "way": "up", "inner": {"rate": 1, "sizes": [1, 2], "more": [{}]}, "floors": {"a": 0.5}}


@pytest.mark.parametrize(
    "change, says",
    [
        ({}, None),
        ({"inner": {}}, None),
        ({"inner": {"rate": None}}, None),
        ({"more": "\x1b"}, None),
        ({"name": 3}, "name: got 3, wanted a short text of one line"),
        ({"name": "\x1b[31m"}, "name: got '\\x1b[31m', wanted a short text of one line"),
        ({"name": "a\u2028b"}, "name: got 'a\\u2028b', wanted"),
        ({"name": "x" * 2000}, f"name: got '{'x' * 79}..., wanted"),
        ({"way": "left"}, "way: got 'left', wanted 'up' or 'down'"),
        ({"way": ["up"]}, "way: got ['up'], wanted 'up' or 'down'"),
        ({"inner": 3}, "inner: got 3, wanted an object"),
        ({"inner": {"rate": True}}, "inner.rate: got True, wanted a finite number or null"),
        ({"inner": {"rate": float("nan")}}, "inner.rate: got nan, wanted a finite number or null"),
        ({"inner": {"rate": 10**400}}, "inner.rate: got 1000"),
        ({"inner": {"sizes": [1, 2.0]}}, "inner.sizes: got 2.0, wanted an integer"),
        ({"inner": {"sizes": [2**63]}}, "inner.sizes: got 9223372036854775808, wanted an integer"),
        ({"inner": {"sizes": {}}}, "inner.sizes: got {}, wanted a list"),
        ({"floors": {"a": "b"}}, "floors.a: got 'b', wanted a finite number"),
        ({"floors": {"\x1b": 1}}, "floors: got '\\x1b', wanted a short text"),
    ],
)
def test_a_form(change, says):
    found = fault(GOOD | change, Outer)
    assert found is None if says is None else found.startswith(says), found


def test_what_must_be_there():
    assert fault({"way": "up"}, Outer) == "got no 'name'"
    assert fault([], Outer) == "got [], wanted an object"


@pytest.mark.parametrize("content", ["[" * 10**5, "[" * 60 + "]" * 60, "9" * 5000, "{'a': 1}", "nul", "", "\ud800"])
def test_what_is_no_json_is_one_line(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match="a.json: got a file that cannot be read as JSON .*, wanted a form"):
        files.read_json(tmp_path / "a.json", Outer, "a form")


def test_what_is_said_is_printable_and_not_long():
    said = in_one_line(UserError("\x1b[31m\x07" + "x" * 10_000 + "\ud800 the way out"))
    assert (
        said.isprintable() and len(said) < 1300 and said.startswith("\\x1b[31m\\x07xx") and said.endswith("the way out")
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from in_process import run_jobs_here

    folder = tmp_path_factory.mktemp("forms") / "run"
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        assert cli.main(["train", "RNN-LN-FW", *TINY, "--run", str(folder)]) == 0
    return folder


def change_last(path, **changes):
    *rows, last = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in (*rows, last | changes)))


@pytest.mark.parametrize(
    "name, changes, says",
    [
        (run_folder.TIMINGS, {"backend": 3}, "timings.jsonl: got a broken line 2 (backend: got 3, wanted a short text"),
        (run_folder.TIMINGS, {"backend": "\x1b]0;x\x07"}, "broken line 2 (backend: got '\\x1b]0;x\\x07', wanted"),
        (run_folder.TIMINGS, {"backend": "[/red]"}, None),
        (run_folder.TIMINGS, {"seconds": "1"}, "timings.jsonl: got a broken line 2 (seconds: got '1', wanted a finite"),
        (
            run_folder.METRICS,
            {"valid_loss": "low"},
            "metrics.jsonl: got a broken line 2 (valid_loss: got 'low', wanted",
        ),
        (run_folder.METRICS, {"epoch": 0}, "metrics.jsonl: got a broken line 2 (epoch: got 0, wanted one from 1)"),
        (run_folder.METRICS, {"update": 10**30}, "metrics.jsonl: got a broken line 2 (update: got 1000000"),
        (run_folder.METRICS, {"valid_\x1b": 1.0}, "metrics.jsonl: got a broken line 2 (got 'valid_\\x1b', wanted"),
    ],
)
def test_a_row_that_lies(name, changes, says, trained, tmp_path, jobs_here, capsys):
    shutil.copytree(trained, tmp_path / "run")
    change_last(tmp_path / "run" / name, **changes)
    code = cli.main(["train", "RNN-LN-FW", *TINY, "--resume", "--run", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err
    assert (code == 0 and "[/red]" in out) if says is None else (code == 2 and says in err), (out, err)


@pytest.mark.parametrize(
    "path, value, says",
    [
        (("metric", "better"), "sideways", "config.json: metric.better: got 'sideways', wanted 'higher' or 'lower'"),
        (
            ("metric", "floors"),
            {"accuracy": None},
            "config.json: metric.floors.accuracy: got None, wanted a finite number",
        ),
        (("network", "rule"), "Cosine", "config.json: network.rule: got 'Cosine', wanted an object"),
        (("network", "rule", "rate"), "x", "config.json: --rule Cosine: rate: got 'x', wanted a finite number"),
        (("network", "rule", "rate"), 1e300, "config.json: Cosine(rate=1e+300): wanted at most 700, for it is learned"),
        (("network", "inner_steps"), [1], "config.json: network: inner_steps: got [1], wanted an integer"),
        (("network", "odd"), None, "config.json: RNN-LN-FW has no option 'odd'"),
        (("task", "num_pairs"), 99, "config.json: num_pairs: got 99, wanted an integer from 1 to 26"),
        (("task", "odd"), 1, "config.json: got the task associative-retrieval with 'odd'"),
        (("config", "odd"), None, "config.json: got the unknown Config entry 'odd'"),
        (("config", "head_sizes"), ["8"], "config.json: config.head_sizes: got '8', wanted an integer"),
        (("config", "groups"), [{"odd": 1}], "config.json: got the unknown Group entry 'odd'"),
        (("config", "groups"), [{}], "config.json: got no Group entry 'pattern'"),
        (("config", "hidden_size"), 10**6, "config.json: --hidden-size 1000000: wanted at most 100,000"),
        (("model",), "\x1b[2J", "config.json: model: got '\\x1b[2J', wanted a short text of one line"),
    ],
)
def test_a_description_that_lies(path, value, says, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    stored = json.loads((tmp_path / "run/config.json").read_text())
    inner = stored
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    (tmp_path / "run/config.json").write_text(json.dumps(stored))
    code = cli.main(["sample", "RNN-LN-FW", "a1b2c3??a", "--run", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and says in err and err.count("\n") == 1 and "\x1b" not in err, err
    assert re.search(r"run/config\.json: ", err)
