"""README and docs: short sentences, examples that run, commands that parse, links that lead somewhere."""

import json
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from prose import sentences, words

from fastweights import cli
from fastweights.papers import PAPERS, paper

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"^```python ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ {4}(?:\$ )?(fastweights \w.*)$|`(fastweights \w+ [^`]*[^`.])`", re.MULTILINE)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_a_long_sentence_is_found_wherever_it_stands():
    long = "One " + "and " * 35 + "two"
    for page in (f"{long}.", f"- {long}", f"# {long}", f"| a | {long} |", f"Short. {long}. Short.", f"1. {long}\n2. b"):
        assert [words(each) for each in sentences(page) if words(each) > 35] == [37], page
    assert max(map(words, sentences(f"Short (`a b c`).\n\n    {long}\n\n```\n{long}\n```\n"))) == 2
    assert sentences("Of Ba et al. 2016. `It` is [so](there). (Not that.) So") == [
        "Of Ba et al. 2016.", "`code` is so.", "(Not that.", "So",
    ]  # fmt: skip


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/log.md"])
def test_a_sentence_has_at_most_35_words(page):
    assert [each for each in sentences(text_of(page)) if words(each) > 35] == []


def test_the_readme_has_at_most_120_lines_in_its_order():
    text = text_of("README.md")
    assert len(text.splitlines()) <= 120
    heads = ["See it in two minutes", "In place of nn.LSTM", "Will it help me?", "Look into the memory",
             "Train and compare", "What else it does", "Your own cell, rule, task, data", "The equations", "Table 1 in short", "Speed", "More"]  # fmt: skip
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == heads


def test_decisions_are_few_and_short():
    entries = text_of("docs/decisions.md").strip().split("\n\n")[2:]
    assert len(entries) <= 25 and all(entry.startswith("**") for entry in entries)
    assert [entry for entry in entries if entry.count("\n") > 2] == []


@pytest.mark.parametrize("name", PAPERS)
def test_what_differs_from_a_paper_is_numbered_in_one_line_each(name):
    lines = (paper(name).__doc__ or "").splitlines()
    numbered = [place for place, line in enumerate(lines) if re.match(r"\d+\. ", line)]
    assert [lines[place].split(".")[0] for place in numbered] == [str(n + 1) for n in range(len(numbered))] != []
    assert [line for place in numbered for line in lines[place + 1 : place + 2] if line.startswith(" ")] == []


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The current folder of somebody who followed the README: the examples, my.py, and a package of his own."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    own = next(body for _, body in CODE.findall(text_of("README.md")) if "class Cell" in body)
    (tmp_path / "my.py").write_text(own)
    (tmp_path / "my_package.py").write_text(own.replace("class Cell", "class MyCell"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("my", "my_package"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", [page for page in PAGES if CODE.search(text_of(page))])
def test_the_python_examples_of_a_page_run(page, desk):
    names: dict[str, object] = {"__name__": "example"}
    for kind, body in CODE.findall(text_of(page)):
        if kind == "onnx" and not (find_spec("onnxscript") and find_spec("onnx")):
            continue  # of the extra [onnx]; tests/test_onnx.py says that it is skipped
        exec(compile(body, page, "exec"), names)


class Parsed(BaseException):
    pass


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one(page, desk, monkeypatch):
    import tyro

    right = tyro.cli

    def parse(*arguments, **options):
        right(*arguments, **options)
        raise Parsed

    monkeypatch.setattr(tyro, "cli", parse)
    commands = [shlex.split(one or other, comments=True)[1:] for one, other in COMMAND.findall(text_of(page))]
    commands = [each for each in commands if each[0].islower() and not {"NAME", "N", "..."} & set(each)]
    assert commands or page not in ("README.md", "docs/command-line.md", "docs/will-it-help.md")
    for arguments in commands:
        with pytest.raises(Parsed):
            cli.command(arguments[0])(arguments[1:])


@pytest.mark.usefixtures("jobs_here")
def test_what_the_readme_makes_of_its_own_is_learnt(desk, capsys):
    (command,) = re.findall(r"^`fastweights (train .*my:Cell.*)`\.$", text_of("README.md"), re.MULTILINE)
    short = "--train-size 32000 --valid-size 500 --epochs 1".split()
    assert cli.main([*re.sub(r" --epochs \d+", "", command).split(), *short]) == 0
    rows = re.findall(r"^(\S+) +([\d.]+)% +10.00%", capsys.readouterr().out, re.MULTILINE)
    assert [name for name, _ in rows] == ["RNN-LN-FW", "Cell"] and min(float(share) for _, share in rows) > 95


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    for place in re.findall(r"\]\(([^)#]+)\)", text_of(page)):
        if not place.startswith("http"):
            assert (ROOT / page).parent.joinpath(place).exists(), place


def test_the_notebook_runs_in_ten_cells_and_has_no_outputs(capsys):
    cells = json.loads(text_of("examples/paper_in_ten_cells.ipynb"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 10 and not any(cell["outputs"] or cell["execution_count"] for cell in code)
    names: dict[str, object] = {"__name__": "notebook"}
    for cell in code:
        exec(compile("".join(cell["source"]), "paper_in_ten_cells.ipynb", "exec"), names)
    out = capsys.readouterr().out
    shares = [float(each) for each in re.findall(r"([\d.]+)%", out)]
    learnt, floor, without, whole, emptied = shares
    assert learnt > 95 and whole > 95 and without < floor + 3 and emptied < 60, out
