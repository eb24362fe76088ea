"""The page itself: one HTML file without a request to anywhere, in which nothing runs but its own script."""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

from fastweights.errors import UserError

MOST = 2_000_000  # bytes
SLOT = re.compile(r"\{\{(\w+)\}\}")


def page(told: dict[str, Any]) -> bytes:
    """The file, of what `contents` tells. `UserError` where it would be too large."""
    script, style = part("explorer.js"), part("explorer.css")
    title = f"{told['runs'][0]['name']} on {told['task']['name']}"
    slots = {
        "title": html.escape(title),
        "policy": f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; "
        "base-uri 'none'; form-action 'none'",
        "style": style,
        "told": in_html(told),
        "script": script,
    }
    made = SLOT.sub(lambda found: slots[found[1]], part("page.html")).encode()
    if len(made) > MOST:
        got = f"{len(made) / 1e6:.1f} MB of weights and sequences"
        raise UserError(f"got {got}, wanted a page of at most {MOST / 1e6:g} MB; name fewer runs, or smaller ones")
    return made


def part(name: str) -> str:
    return files("fastweights.explorer").joinpath(name).read_text(encoding="utf-8")


def hashed(source: str) -> str:
    """What a Content-Security-Policy calls a script or a style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def in_html(told: Any) -> str:
    """JSON that ends no element and begins none."""
    text = json.dumps(told, allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
