"""Docstrings of this project as reStructuredText.

They are plain text: `name` is code, an indented block after an empty line is an equation or a picture, and a line
`name: text` explains an argument, its further lines indented.
"""

import re
from collections.abc import Iterator

SECTION = re.compile(r"[A-Z][a-z]+:$")
ENTRY = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): +")
MARKED = re.compile(r"(`[^`]*`)")


def as_rst(lines: list[str]) -> list[str]:
    return [line for block in blocks(lines) for line in ["", *block, ""]]


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Paragraphs, equations and lists, each as lines of reStructuredText."""
    text: list[str] = []
    section = False
    for first, line in zip(["", *lines], [*lines, ""], strict=True):
        indented = line.startswith("    ")
        if section and indented:
            line, indented = line[4:], line.startswith("        ")
        elif line.strip() and not indented:
            section = False
        literal = bool(text) and text[0] == "::"
        if literal and (indented or not line.strip()):
            text.append(line)
            continue
        if literal or not line.strip() or ENTRY.match(line) or line.startswith("- "):
            if text:
                yield text
            text = []
        if SECTION.match(line) and not indented:
            section = True
            yield [f"**{line[:-1]}**"]
        elif indented and not first.strip() and not section:
            text = ["::", "", line]
        elif line.strip():
            text.append(("  " if text and text[0].startswith("- ") else "") + marked(line.strip()))
    if text:
        yield text


def marked(line: str) -> str:
    """Code between backticks, and elsewhere nothing that has a meaning in reStructuredText."""
    named = ENTRY.match(line)
    parts = MARKED.split(line[named.end() :] if named else line)
    told = "".join(
        f"`{part}`" if place % 2 else re.sub(r"([*|\\]|_(?!\w))", r"\\\1", part) for place, part in enumerate(parts)
    )
    return f"- ``{named[1]}``: {told}" if named else told
