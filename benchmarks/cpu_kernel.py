"""What the cpu backend costs: `python benchmarks/cpu_kernel.py [PART ...]`.

Parts: kernel, threads, stream, curve, baselines, start, and chunks, which is only run where it is named.

Rounds are interleaved in one process: everything in a table is run twice, the second call timed, then everything
again. A time is the median over rounds, with the 20% and 80% quantiles; a ratio is the median of the ratios within a
round.
"""

import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from os import environ
from typing import Any

import torch

from fastweights import FastWeightsRNNCell
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import cpu, cpu_passes
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory
from fastweights.ops.fast_weights_rnn.kinds import HEBBIAN
from fastweights.optim import FlatAdamW
from fastweights.tasks import AssociativeRetrieval, answers
from fastweights.training.config import Config
from fastweights.training.loop import training_step
from fastweights.training.setup import Setup

BATCH = 128
ROUNDS = 300  # of the kernels
SHAPES = [(9, 50), (11, 50), (9, 100), (11, 100)]  # time, hidden


def rounds(functions: dict[str, Callable[[], object]], count: int) -> dict[str, torch.Tensor]:
    """Milliseconds of each function, [round]."""
    for function in functions.values():
        function()
    table = []
    for _ in range(count):
        row = []
        for function in functions.values():
            function()  # untimed: the caches are those of its predecessor, and a second thread may be asleep
            start = time.perf_counter()
            function()
            row.append((time.perf_counter() - start) * 1e3)
        table.append(row)
    return dict(zip(functions, torch.tensor(table, dtype=torch.float64).T, strict=True))


def show(values: torch.Tensor) -> str:
    low, middle, high = torch.quantile(values, torch.tensor([0.2, 0.5, 0.8], dtype=values.dtype)).tolist()
    return f"{middle:7.3f} [{low:.3f} {high:.3f}]"


def problem(batch: int, steps: int, hidden: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    tensors = {
        "inputs": torch.randn(batch, steps, hidden, generator=g),
        "recurrent": torch.randn(hidden, hidden, generator=g) * 0.4 / hidden**0.5,
        "gain": torch.ones(hidden),
        "bias": torch.zeros(hidden),
    }
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def training(batch: int, steps: int, hidden: int, backend: str = "cpu", inner_steps: int = 1) -> Callable[[], object]:
    """Forward and backward of the op, autograd included."""
    leaves = problem(batch, steps, hidden)
    d_outputs = torch.randn(batch, steps, hidden)

    def run() -> object:
        options = {"inner_steps": inner_steps, "backend": backend}
        outputs, _ = fast_weights_rnn(*leaves.values(), **options, need_state=False)
        return torch.autograd.grad(outputs, list(leaves.values()), d_outputs)

    return run


def kernel() -> None:
    torch.set_num_threads(1)
    memory = Memory(0.95, 0.5, HEBBIAN)
    print(f"one thread, batch {BATCH}, float32, layer norm; ms, and ratios to the bare products (3 time torch.mm)")
    print(
        "time hidden inner | bare products | kernels forward | kernels backward | op forward + backward"
        " | kernels / bare | op - kernels"
    )
    for inner_steps in (1, 0):
        for steps, hidden in SHAPES:
            a, b, c = torch.randn(BATCH, hidden), torch.randn(hidden, hidden), torch.empty(BATCH, hidden)
            w, x, gain, bias = (
                problem(BATCH, steps, hidden)[n].detach() for n in ("recurrent", "inputs", "gain", "bias")
            )
            start = torch.zeros(BATCH, hidden)
            needs = (True, True, True, True, False, False, False, False)
            d_outputs = torch.randn(BATCH, steps, hidden)
            saved = torch.empty(cpu_passes.saved_size(x.shape, x.dtype, inner_steps, True, HEBBIAN))

            def bare(a=a, b=b, c=c, steps=steps) -> None:
                for _ in range(3 * steps):
                    torch.mm(a, b, out=c)

            slow: Any = (w, gain, bias, start, None)
            forward = partial(cpu_passes.forward, x, *slow, memory, None, inner_steps, True, saved)
            backward = partial(cpu_passes.backward, d_outputs, *slow, None, saved, memory, inner_steps, True, needs)
            times = rounds(
                {
                    "bare": bare,
                    "forward": forward,
                    "backward": backward,
                    "op": training(BATCH, steps, hidden, inner_steps=inner_steps),
                },
                ROUNDS,
            )
            kernels = times["forward"] + times["backward"]
            columns = [*times.values(), kernels / times["bare"], times["op"] - kernels]
            print(f"{steps:4} {hidden:6} {inner_steps:5} | " + " | ".join(show(v) for v in columns))


def threads() -> None:
    print("\none and two threads, batch 512, 9 steps; ms of op forward + backward")
    for hidden in (50, 100, 256):
        run = training(512, 9, hidden)

        def with_threads(count: int, run=run) -> Callable[[], object]:
            return lambda: (torch.set_num_threads(count), run())

        times = rounds({"1": with_threads(1), "2": with_threads(2)}, 100)
        speed = times["1"] / times["2"]
        print(f"hidden {hidden:4}: one {show(times['1'])} | two {show(times['2'])} | times faster {show(speed)}")
    torch.set_num_threads(1)


def stream() -> None:
    torch.set_num_threads(1)
    print("\none streamed token, batch 1, without a graph; us")
    for hidden in (50, 100, 256, 512):
        ours, gru = FastWeightsRNNCell(hidden, hidden), torch.nn.GRUCell(hidden, hidden)
        x, h = torch.randn(1, hidden), torch.zeros(1, hidden)
        with torch.no_grad():
            state = ours(x, ours(x))
            contenders = {"ours": partial(ours, x, state), "gru": partial(gru, x, h)}
            times = rounds(contenders, 2000)
        ratio = times["ours"] / times["gru"]
        micro = {name: 1000 * values for name, values in times.items()}
        print(
            f"hidden {hidden:4}: FastWeightsRNNCell {show(micro['ours'])} | nn.GRUCell {show(micro['gru'])} | "
            f"ratio {show(ratio)}"
        )


def peak(run: Callable[[], object]) -> float:
    """MiB that a run adds to the resident memory at most; -1 where Linux does not tell."""

    def field(name: str) -> float:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))

    try:
        ctypes.CDLL(None).malloc_trim(0)  # else what an earlier run has left to the allocator is not seen
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = field("VmRSS")
        run()
        return field("VmHWM") - before
    except (OSError, AttributeError):
        return -1.0


def curve() -> None:
    torch.set_num_threads(1)
    print("\nlong sequences, one thread, batch 8: ms of op forward + backward and MiB at its peak")
    print("hidden | " + " | ".join(f"{t:>14} steps" for t in (16, 64, 256, 1024, 4096)))
    for hidden in (32, 64, 128, 256, 512):
        cells = []
        for steps in (16, 64, 256, 1024, 4096):
            run = training(8, steps, hidden)
            memory = peak(run)
            best = rounds({"op": run}, 3)["op"].median().item()
            cells.append(f"{best:8.1f} {memory:7.0f} MiB")
        print(f"{hidden:6} | " + " | ".join(f"{c:>20}" for c in cells), flush=True)


def chunks() -> None:
    torch.set_num_threads(1)
    print("\nsteps in a chunk, one thread, batch 8: ms of op forward + backward")
    kept = cpu.LEAST
    for hidden, steps in ((32, 1024), (64, 1024), (128, 1024), (256, 1024)):
        run = training(8, steps, hidden)

        def cut(size: int, run=run) -> Callable[[], object]:
            def with_size() -> None:
                cpu.LEAST = size
                run()

            return with_size

        times = rounds({str(n): cut(n) for n in (64, 100, 128, 256, 512)}, 5)
        print(f"hidden {hidden:4}, {steps} steps: " + ", ".join(f"{n}: {v.median():.0f}" for n, v in times.items()))
    cpu.LEAST = kept


def baselines() -> None:
    print(f"\na training step over symbols, the paper's layers around the network, batch {BATCH}, 11 steps; ms")
    torch.set_num_threads(1)
    for name, hidden in product(("IRNN", "LSTM"), (20, 50, 100)):
        config = Config(hidden_size=hidden, embedding_sizes=(50, 100), head_sizes=(100,))
        task = AssociativeRetrieval(4)
        batch = task.draw(BATCH, torch.Generator().manual_seed(0))
        steps: dict[str, Callable[[], object]] = {}
        for backend in ("torch", "auto"):
            model = Setup(name, task, config).build()
            model.recurrent.backend = backend  # pyright: ignore[reportAttributeAccessIssue]
            steps[backend] = partial(training_step, answers, model, batch, FlatAdamW(model.parameters(), clip=5.0))
        times = rounds(steps, 200)
        columns = [times["torch"], times["auto"], times["auto"] / times["torch"]]
        print(f"{name} {hidden:4}: torch, kernels, ratio | " + " | ".join(show(v) for v in columns))


START = """
import time, torch
from fastweights.ops import fast_weights_rnn
x, w = torch.randn(16, 9, 50, requires_grad=True), torch.randn(50, 50)
begin = time.perf_counter()
fast_weights_rnn(x, w, torch.ones(50), torch.zeros(50), backend="cpu", need_state=False)[0].sum().backward()
print(f"{time.perf_counter() - begin:.2f} s, of processor time {time.process_time():.2f} s with the imports")
"""


def start() -> None:
    print("\nthe first forward + backward of a process, float32")
    with tempfile.TemporaryDirectory() as folder:
        for what in ("nothing in the cache", "warm cache", "warm cache"):
            done = subprocess.run(
                [sys.executable, "-c", START], env=environ | {"NUMBA_CACHE_DIR": folder}, capture_output=True, text=True
            )
            print(f"{what}: {done.stdout.strip() or done.stderr}")


if __name__ == "__main__":
    parts = (kernel, threads, stream, curve, baselines, chunks, start)
    for name in sys.argv[1:] or [part.__name__ for part in parts if part is not chunks]:
        {part.__name__: part for part in parts}[name]()
