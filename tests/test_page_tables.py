"""Numbers that pages take out of the tables of docs/papers.md, which another test holds to the committed results."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def rows(text):
    """{first field: the others} of all rows, the first of a name."""
    found = {}
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE):
        name, *fields = line.split(" | ")
        found.setdefault(name, fields)
    return found


def table(paper, title):
    """The rows of one table of docs/papers.md, by the title of its section and its own."""
    section = text_of("papers.md").partition(f"## {paper}\n")[2].partition("\n## ")[0]
    return rows(section.partition(f"### {title}\n\n")[2].partition("\n\n")[0])


def test_the_memories_between_encoder_and_decoder():
    title = "Fast weights against attention: the pronunciation of words"
    errors, page = table(title, "Errors"), text_of("sequences.md")
    apart = table(title, "Against attention, over words")
    named = {
        "none: the last states of the encoder": "none", "attention by dot products": "attention",
        "additive attention": "additive", "delta rule": "delta", "linear": "linear", "gated delta": "gated-delta",
        "slots": "slots", "one `FastWeightsRNN` that reads letters and goes on with phones": "transducer",
        "the same behind a bidirectional `FastWeightsRNN`": "transducer-fast",
    }  # fmt: skip
    for name, row in named.items():
        phone, _, word, _, long, *_, seeds, _, _ = errors[row]
        *known, verdict = rows(page)[name]
        assert [*known, seeds] == [f"{phone}%", f"{word}%", f"{long}%", "3"], name
        assert row == "attention" or {verdict} == {apart[row][2], apart[row][5]}, name
    phone, of_phone, _, word, of_word, _ = apart["delta"]
    said = f"phone error differs by {phone} points ({of_phone}), its word error by {word} ({of_word})"
    assert said in " ".join(page.split())
    longest = {row: fields[-1] for row, fields in table(title, "Phone error by letters in the word; none of 13 and more "
                                                        "was trained on").items()}  # fmt: skip
    assert f"delta rule has {longest['delta']}% of the phones wrong, attention {longest['attention']}%" in " ".join(
        page.split()
    )


def test_that_the_delta_rule_equals_attention_is_said_of_three_seeds():
    title = "Fast weights against attention: the pronunciation of words"
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert "the delta rule equals attention" in readme and "fast weights equal attention" not in readme
    verdicts = table(title, "Against attention, over words")["delta"]
    assert verdicts[2] == verdicts[5] == "equals"
    assert all(int(table(title, "Errors")[row][-3]) >= 3 for row in ("delta", "attention"))


def test_the_six_tasks_of_a_swap():
    wanted = table("Swapping nn.GRU or nn.LSTM for FastWeightsRNN", "All tasks")
    shown = rows(text_of("will-it-help.md"))
    named = {
        "guess floor": "guess", "FastWeightsRNN, by default": "fast-weights", "`rule=Hebbian()`, the paper's": "Hebbian",
        "`rule=Delta()`": "Delta", "no memory, `inner_steps=0`": "no-memory", "`nn.GRU`": "nn.GRU",
        "`nn.LSTM`": "nn.LSTM",
    }  # fmt: skip
    for name, row in named.items():
        for ours, theirs in zip(shown[name], wanted[row], strict=True):
            digits = len(ours.rstrip("%").partition(".")[2])
            step = 10.0**-digits
            assert abs(float(ours.rstrip("%")) - float(theirs.rstrip("%"))) <= 0.51 * step, (name, ours, theirs)
