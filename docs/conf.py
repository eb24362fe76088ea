"""The site of these pages: `make docs` writes it into docs/_build."""

import sys
from pathlib import Path
from typing import Any

import fastweights

sys.path.insert(0, str(Path(__file__).parent))

from docstrings import as_rst

project, author, release = "fastweights", "the authors of fastweights", fastweights.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]  # the page of the demo's network
html_css_files = ["wide.css"]
html_title = f"fastweights {release}"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False


def setup(app: Any) -> None:
    def rewrite(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
        lines[:] = as_rst(lines)

    app.connect("autodoc-process-docstring", rewrite)
