"""Sentences of a Markdown page, for the tests that count their words."""

import re

FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"\s*([-*+] |\d+\. |#+ |\|)")  # a line that begins a block of its own
END = re.compile(r"(?<=[.!?])[)\"*]*\s+(?=[A-Z\"`*_(\[])")


def sentences(markdown: str) -> list[str]:
    """Without code blocks; cells of tables, items of lists and headings are blocks of their own."""
    text = re.sub(r"<!--.*?-->", "", FENCE.sub("\n", markdown), flags=re.DOTALL)
    found: list[str] = []
    for block in blocks(text):
        block = re.sub(r"`[^`]*`", "`code`", " ".join(block.split()))
        block = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", block)
        found += [each for each in END.split(block) if words(each)]
    return found


def blocks(text: str) -> list[str]:
    made: list[list[str]] = [[]]
    for line in text.splitlines():
        code = re.match(r" {4,}", line) and not made[-1]  # what is indented after an empty line
        if not line.strip() or code:
            made.append([])
        elif line.lstrip().startswith("|"):
            made += [[cell] for cell in line.strip().strip("|").split("|")] + [[]]
        elif BLOCK.match(line):
            made.append([BLOCK.sub("", line, count=1)])
            if line.startswith("#"):
                made.append([])
        else:
            made[-1].append(line)
    return [" ".join(lines) for lines in made if lines]


def words(sentence: str) -> int:
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())
