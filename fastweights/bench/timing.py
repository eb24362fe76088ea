"""Interleaved rounds: every contender once a round, in random order, so that what else the machine does meets all."""

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import quantiles

import torch

SAMPLE = 1e-2  # seconds that a sample takes at least, by repetition: training is a loop, its caches are its own
LONG = 0.2  # seconds: what takes longer is timed in fewer rounds
FEWEST = 3  # samples

Work = Callable[[], object]
Clock = Callable[[], float]
Samples = dict[str, list[float]]  # seconds


def rounds(
    contenders: Mapping[str, Work],
    count: int,
    seed: int,
    device: str = "cpu",
    tell: Callable[[float], None] = lambda seconds: None,
    clock: Clock = time.perf_counter,
) -> tuple[Samples, bool]:
    """Seconds a call of each contender, `count` samples (fewer of slow ones), and whether Ctrl-C broke it off.

    Warmed up before; the garbage collector rests meanwhile. `time.process_time` as the `clock` leaves out what other
    processes take, where one thread does all the work. `tell` is called with an estimate of all the rounds.
    """
    samples: Samples = {name: [] for name in contenders}
    try:
        costs = {name: warm_up(work, device, clock) for name, work in contenders.items()}
        takes = {name: max(min(count, FEWEST), min(count, int(LONG * count / cost))) for name, cost in costs.items()}
        tell(sum(takes[name] * max(cost, SAMPLE) for name, cost in costs.items()))
        order = random.Random(seed)
        with collector_at_rest():
            for number in range(count):
                names = [n for n in contenders if number * takes[n] // count > (number - 1) * takes[n] // count]
                order.shuffle(names)
                for name in names:
                    repeats = max(1, math.ceil(SAMPLE / costs[name]))
                    if costs[name] < LONG / 10:  # caches are those of its predecessor
                        seconds(contenders[name], 1, device, clock)
                    samples[name].append(seconds(contenders[name], repeats, device, clock))
    except KeyboardInterrupt:
        return samples, True
    return samples, False


def warm_up(work: Work, device: str, clock: Clock) -> float:
    """Call it for 20 ms, at least three times unless it is slow; returns the seconds of the fastest call."""
    spent = best = seconds(work, 1, device, clock)
    calls = 1
    while spent < 0.02 or (calls < 3 and spent < LONG):
        cost = seconds(work, 1, device, clock)
        spent, best, calls = spent + cost, min(best, cost), calls + 1
    return max(best, 1e-7)


def seconds(work: Work, repeats: int, device: str, clock: Clock) -> float:
    synchronize(device)
    began = clock()
    for _ in range(repeats):
        work()
    synchronize(device)
    return (clock() - began) / repeats


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def spread(samples: list[float]) -> tuple[float, float, float]:
    """Quantiles 20%, 50% and 80%."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    tenths = quantiles(samples, n=10, method="inclusive")
    return tenths[1], tenths[4], tenths[7]


@contextmanager
def collector_at_rest() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
