"""Ways to break a text, bytes and the content of a JSON at random."""

import contextlib
import json
import random
from pathlib import Path
from typing import Any

NASTY = [
    "", " ", "\n", "\r", "\t", "\0", "-", "--", "=", ",", ":", "?", "0", "-1", "1e999", "nan", "inf", "-0.0", "0x10",
    "1_000", "9" * 30, "9" * 5000, "1.5", "True", "null", "None", "é", "٣", "😀", "\u2028", "\x1b[31m", "\x07", "\x7f",
    "[red]", "[/]", ":smile:", "$x$", "%s", "{}", "../..", "/", "/dev/null", "a" * 300, "a:b", "os:system", "~",
]  # fmt: skip


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**40, 10**400, 0.0, -0.5, 1e300, float("nan"), float("inf"), "", "x", [],
    [1], ["a", None], {}, {"a": 1}, [[[]]], *NASTY[:30],
]  # fmt: skip


# what is broken, and how


def break_text(draw: random.Random, text: str) -> str:
    for _ in range(draw.choice([1, 1, 2, 5])):
        place, way = draw.randint(0, len(text)), draw.randrange(6)
        if way == 0:
            text = text[:place] + draw.choice(NASTY) + text[place:]
        elif way == 1:
            text = text[:place] + text[place + draw.randint(1, 4) :]
        elif way == 2:
            text = text[:place] + chr(draw.randrange(draw.choice([128, 0xD800, 0x10FFFF]))) + text[place + 1 :]
        elif way == 3:
            other = draw.randint(0, len(text))
            text = text[: min(place, other)] + text[max(place, other) :] + text[min(place, other) : max(place, other)]
        elif way == 4:
            text = text[:place] * draw.choice([0, 1, 2, 3]) + text[place:]
        else:
            text = text.replace(draw.choice("a1?,.: 05-") or "a", draw.choice(NASTY), draw.randint(1, 3))
        text = text[:20_000]
    return text


def break_bytes(draw: random.Random, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        place, way = draw.randint(0, len(found)), draw.randrange(5)
        if way == 0 and found:
            found[place % len(found)] ^= 1 << draw.randrange(8)
        elif way == 1:
            found[place : place + draw.randint(1, 64)] = b""
        elif way == 2:
            found[place:place] = draw.randbytes(draw.randint(1, 64))
        elif way == 3:
            del found[place:]
        else:
            found[place : place + 8] = draw.choice([b"\xff" * 8, b"\0" * 8, b"\n" * 8, draw.randbytes(8)])
    return bytes(found)


def break_json(draw: random.Random, content: Any) -> Any:
    """One of its values is another, or gone, or there is one more."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in pairs:
            places.append((value, key))
            walk(inner)

    content = json.loads(json.dumps(content))
    walk(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        holder, key = draw.choice(places)
        way = draw.randrange(8)
        if isinstance(holder, list) and key >= len(holder):
            continue
        if way == 0:
            holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
        elif way == 1 and isinstance(holder, dict):
            holder[draw.choice(NASTY)] = draw.choice(VALUES)
        elif way == 2:
            other, name = draw.choice(places)
            with contextlib.suppress(LookupError):
                holder[key] = json.loads(json.dumps(other[name]))
        elif way == 3 and isinstance(holder.get(key) if isinstance(holder, dict) else holder[key], str):
            holder[key] = break_text(draw, holder[key])
        else:
            holder[key] = draw.choice(VALUES)
    return content


def write_json(draw: random.Random, path: Path, content: Any) -> None:
    if draw.random() < 0.15:
        path.write_bytes(break_bytes(draw, json.dumps(content).encode()))
    elif draw.random() < 0.02:
        path.write_text("[" * draw.choice([50, 5000, 200_000]))
    else:
        path.write_text(json.dumps(break_json(draw, content)))
