"""The table of the update rules is that of the registered ones."""

import importlib.util
import re
from pathlib import Path

from fastweights import rules

DOCS = Path(__file__).parent.parent / "docs"
spec = importlib.util.spec_from_file_location("rules_table", DOCS / "rules_table.py")
rules_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rules_table)


def test_the_table_is_that_of_today():
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    assert text == rules_table.page(text), "python docs/rules_table.py writes it anew"


def test_every_rule_has_a_row_a_paper_and_a_place_in_the_api():
    rows = re.findall(r"^\| `(\w+)` .*\(https://[^)]+\) \|$", rules_table.table(), re.MULTILINE)
    assert rows == sorted(rules.scanned())
    api = (DOCS / "api.md").read_text(encoding="utf-8")
    assert [name for name in rules.scanned() if not re.search(rf"autoclass:: fastweights\S*\.{name}\n", api)] == []
