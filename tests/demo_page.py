"""The page in the docs: `python tests/demo_page.py` writes it again, with its network and the program of this version."""

import json
from pathlib import Path

from fastweights.explorer.page import page

SHOWN = Path(__file__).parent.parent / "docs/_static/demo.html"
BEGIN, END = '<script type="application/json" id="told">', "</script>"


def told():
    """What the page was told as it was written."""
    return json.loads(SHOWN.read_text().partition(BEGIN)[2].partition(END)[0])


if __name__ == "__main__":
    SHOWN.write_bytes(page(told()))
