"""The tables of the page on which rule is for what are those of the committed results."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
spec = importlib.util.spec_from_file_location("memory_tables", DOCS / "memory_tables.py")
memory_tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory_tables)


def test_the_tables_are_those_of_the_results():
    text = (DOCS / "which-rule.md").read_text(encoding="utf-8")
    assert text == memory_tables.page(text), "python docs/memory_tables.py writes it anew"
    assert len(memory_tables.BLOCK.findall(text)) == 7 and text.count("| network | accuracy |") > 0


def test_rows_of_few_seeds_have_no_order(monkeypatch):
    def record(right, seed):
        return {"cell": "any", "seed": seed, "test_error": 1 - right, "measured": {"state_bytes": 512}}

    shares = {"sum": [0.2], "delta": [0.1, 0.2, 0.3], "GLA": [0.9, 0.99], "attention": [0.4, 0.5, 0.6]}
    found = {name: [record(right, seed) for seed, right in enumerate(each)] for name, each in shares.items()}
    runs = memory_tables.paper("overwrite").RUNS
    monkeypatch.setattr(memory_tables, "read", lambda *_: ({cell.name: found.get(cell.name, []) for cell in runs}, []))
    rows = [row.strip("| ").split(" | ") for row in memory_tables.table("overwrite", None, None).splitlines()[2:]]
    assert [(name, span, above) for name, _, span, above, _ in rows] == [
        ("attention", "40.00%-60.00%", "delta"), ("delta", "10.00%-30.00%", "none"),
        ("sum", "one seed", "not told"), ("GLA", "two seeds", "not told"),
    ]  # fmt: skip
