"""The file that `fastweights explore` writes, without a browser."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import demo_page
import pytest
import torch
from browser import WEB, run_of
from command_line import TINY, run
from small_runs import save_raw

from fastweights import Cosine
from fastweights.errors import UserError
from fastweights.explorer.contents import contents
from fastweights.explorer.order import order_of
from fastweights.explorer.page import page, part
from fastweights.tasks import AssociativeRetrieval, Copying, NextCharacter, Reverse
from fastweights.training import checkpoints
from fastweights.training.networks import FastWeights

TASK = AssociativeRetrieval(2)


class Elements(HTMLParser):
    """What a browser would make of a file: its elements, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.policy, self.inside = [], [], None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag
        if dict(attributes).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attributes)["content"]

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("script", "style"):
            self.scripts.append(data)


def test_a_folder_of_runs_becomes_one_file_that_says_how_to_open_it(trained, tmp_path, capsys):
    code, out, err = run(capsys, "explore", trained, "--output", tmp_path / "page.html")
    assert code == 0, err
    assert out == f"{tmp_path}/page.html: open it in a browser, or go to file://{tmp_path}/page.html\n"
    text = (tmp_path / "page.html").read_text()
    found = Elements(text)
    told = json.loads(found.scripts[1])
    assert [each["name"] for each in told["runs"]] == ["RNN-LN-FW", "CONTROL"]
    hashes = [base64.b64encode(hashlib.sha256(found.scripts[n].encode()).digest()).decode() for n in (2, 0)]
    assert found.policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"\b(src|href|url|import)\s*[=(]\s*[\"']?(https?:)?//", text)
    assert run(capsys, "explore", trained / "RNN-LN-FW")[0] == 0
    assert (trained / "RNN-LN-FW" / "explore.html").exists()
    (trained / "RNN-LN-FW" / "explore.html").unlink()


def test_what_a_run_is_called_ends_no_element():
    hurt = '</script><script>window.hurt = 1<script><img src=x onerror="hurt=1">{{script}}'
    made, clean = (
        page(contents([run_of("RNN-LN-FW", TASK, folder=f"{name}{n}") for n in "12"])).decode()
        for name in (hurt[1:], "run")
    )
    assert Elements(made).tags == Elements(clean).tags and hurt not in made
    assert json.loads(Elements(made).scripts[1])["runs"][1]["name"] == f"{hurt.rpartition('/')[2]}2"


def test_the_page_in_the_docs_is_of_this_version():
    assert demo_page.SHOWN.read_bytes() == page(demo_page.told()), "`python tests/demo_page.py` writes it again"
    assert [run["name"] for run in demo_page.told()["runs"]][:2] == ["RNN-LN-FW", "LSTM"]


def nan_run(trained, folder):
    shutil.copytree(trained / "RNN-LN-FW", folder)
    tensors, header = checkpoints.load_checkpoint(folder / "checkpoint.safetensors")
    name = next(name for name in tensors if name.startswith("model."))
    header.pop(checkpoints.HASH, None)
    save_raw(folder, {**tensors, name: torch.full_like(tensors[name], torch.nan)}, header)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (["CONTROL"], r"CONTROL: got CONTROL without fast weights, wanted a run with a memory to look into, such as RNN-LN-FW"),
        (["nothing"], r"nothing: got no run, wanted a run folder"),
        (["nan"], r"got a model\.\S+|is not finite, wanted weights"),
        (["empty/config.json"], r"config\.json"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_said_in_one_sentence_and_nothing_is_written(trained, tmp_path, capsys, named, says):
    for name in ("CONTROL", "RNN-LN-FW"):
        shutil.copytree(trained / name, tmp_path / name)
    nan_run(trained, tmp_path / "nan")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, "explore", *(tmp_path / name for name in named), "--output", tmp_path / "page.html")
    assert code == 2 and out == "" and err.count("\n") == 1 and re.search(says, err), err
    assert sorted(tmp_path.rglob("*")) == before


def of_rule(**settings):
    return run_of("RNN-LN-FW", TASK, FastWeights(Cosine(), learned=()), **settings)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: [of_rule(), run_of("RNN-LN-FW", Copying(2, 2))], "got runs of two tasks .*, wanted runs of one task on a page"),
        (lambda: [of_rule(), run_of("A-LSTM", TASK)], "runs/made: got the network AssociativeLSTM, wanted a network that the page can"),
        (lambda: [run_of("MULTI-LEVEL", TASK)], "runs/made: got the network MultiLevelRNN, wanted a network that the page can"),
        (lambda: [of_rule(hidden_size=800)], "got 3.* MB of weights and sequences, wanted a page of at most 2 MB"),
        (lambda: [run_of("RNN-LN-FW", Reverse())], "reverse: got a run whose answers are sequences of their own"),
        (lambda: 7 * [of_rule()], "got 7 runs, wanted at most 6 on a page"),
    ],
)  # fmt: skip
def test_runs_that_go_on_no_page(make, says):
    with pytest.raises(UserError, match=says):
        page(contents(make()))


def test_a_blank_and_the_end_of_a_line_can_be_seen():
    told = contents([run_of("RNN-LN-FW", NextCharacter(4))])["task"]
    assert told["symbols"] == told["classes"] and {"·", "¶"} < {*told["symbols"]} and told["keys"] == []
    assert not {" ", "\n"} & {*told["symbols"]}


def test_units_that_are_active_together_stand_together():
    draw = torch.Generator().manual_seed(0)
    groups = torch.randn(200, 3, generator=draw).repeat_interleave(4, dim=1) + 0.1 * torch.randn(
        200, 12, generator=draw
    )
    mixed = torch.randperm(13, generator=draw)
    hidden = torch.cat([groups, torch.zeros(200, 1)], dim=1)[:, mixed]
    order = mixed[order_of(hidden.numpy())].tolist()
    assert order[-1] == 12 and sorted(order) == list(range(13))
    assert [len({unit // 4 for unit in order[first : first + 4]}) for first in (0, 4, 8)] == [1, 1, 1]


def test_the_script_is_what_its_sources_say(tmp_path):
    if not (WEB / "node_modules/.bin/esbuild").exists():
        pytest.skip("there is no esbuild: `make browser` installs it")
    command = json.loads((WEB / "package.json").read_text())["scripts"]["build"]
    built = re.sub(r"--outfile=\S+", f"--outfile={tmp_path / 'explorer.js'}", command).split()
    subprocess.run([WEB / "node_modules/.bin" / built[0], *built[1:]], cwd=WEB, check=True, capture_output=True)
    assert (tmp_path / "explorer.js").read_text() == part("explorer.js"), "`npm run build --prefix web` makes it"


def test_the_script_is_small_and_its_lock_names_no_registry():
    assert len(part("explorer.js")) <= 150_000 and "</script" not in part("explorer.js")
    assert "{{" not in part("explorer.css")
    assert '"resolved"' not in (WEB / "package-lock.json").read_text()


@pytest.mark.usefixtures("jobs_here")
def test_what_a_folder_of_runs_has_beyond_is_left_out_and_said(trained, tmp_path, capsys):
    shutil.copytree(trained / "RNN-LN-FW", tmp_path / "FW")
    tiny = [*TINY[:2], "--epochs", "1", "--train-size", "64", "--valid-size", "8", "--batch-size", "64", *TINY[-2:]]
    assert run(capsys, "train", "RNN-LN-FW", *tiny, "--rule", "Longhorn", "--run", tmp_path / "other")[0] == 0
    code, out, _ = run(capsys, "explore", tmp_path)
    assert code == 0 and f"{tmp_path}/other: left out: got the rule Longhorn, wanted" in out.splitlines()[0]
    code, out, err = run(capsys, "explore", tmp_path / "FW", tmp_path / "other")
    assert code == 2 and out == "" and f"{tmp_path}/other: got the rule Longhorn, wanted" in err
    code, _, err = run(capsys, "explore", tmp_path / "FW", "--output", tmp_path / "nowhere" / "page.html")
    assert code == 2 and "nowhere" in err


def test_only_a_page_of_explore_is_written_again(trained, tmp_path, capsys):
    place, asked = tmp_path / "page.html", ["explore", trained / "RNN-LN-FW", "--output"]
    assert run(capsys, *asked, place)[0] == run(capsys, *asked, place)[0] == 0  # its own, the second time
    for name, says in (("notes.md", "wanted a name that ends in .html"), ("notes.html", "no page of this command")):
        (tmp_path / name).write_text("mine")
        code, out, err = run(capsys, *asked, tmp_path / name)
        assert code == 2 and says in err and out == "" and (tmp_path / name).read_text() == "mine"
