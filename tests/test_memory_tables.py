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
