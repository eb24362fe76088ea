"""When fast weights are written and read: the control signal of a sequence, as data. Without torch."""

import re
from functools import cache
from typing import NamedTuple

from fastweights.errors import UserError, near, shown

FIGURE_3 = "write+wipe slow*4 read+integrate"  # of Ba et al. 2016: a coarse glimpse, four fine ones, the coarse again
MOST_STEPS = 100_000
WORD = re.compile(r"([a-z+]+)(?:\*([1-9][0-9]*))?")


class Step(NamedTuple):
    """What a step does beside the slow recurrence."""

    write: bool = False  # its hidden vector enters the fast weights
    wipe: bool = False  # the next step starts from a hidden vector of zeros
    read: bool = False  # the fast weights add to its boundary
    integrate: bool = False  # the hidden vector before it comes in by weights of its own, and behind the read


@cache
def parse_control(text: str) -> tuple[Step, ...]:
    """The steps of `write+wipe slow*4 read+integrate`: words between blanks, `*4` for four of them."""
    wanted = f"wanted words such as {shown(FIGURE_3)}, of {', '.join(Step._fields)}, or slow alone"
    steps: list[Step] = []
    for word in text.split():
        match = WORD.fullmatch(word)
        names = match[1].split("+") if match else [word]
        for name in names:
            if name not in Step._fields and names != ["slow"]:
                raise UserError(f"control: got {shown(name)}{near(name, (*Step._fields, 'slow'))}; {wanted}")
        if len(set(names)) < len(names):
            raise UserError(f"control: got {shown(word)}, wanted each word of a step once")
        step = Step() if names == ["slow"] else Step(**dict.fromkeys(names, True))
        steps += [step] * min(int((match and match[2]) or 1), MOST_STEPS + 1)
        if len(steps) > MOST_STEPS:
            raise UserError(f"control: got more than {MOST_STEPS:,} steps, wanted fewer")
    if not steps:
        raise UserError(f"control: got no step, {wanted}")
    return tuple(steps)


def steps_of(text: str, time: int, first: int = 0) -> tuple[Step, ...]:
    """`time` steps of the signal, which begins again at its end, from its step `first` on."""
    steps = parse_control(text)
    return tuple(steps[(first + place) % len(steps)] for place in range(time))
