"""Cost of the recurrence on an NVIDIA GPU, forward and backward, beside cuDNN's nn.LSTM and nn.GRU.

    python benchmarks/gpu.py                                       the default shapes, float32
    python benchmarks/gpu.py --batch 128 --time 64 --hidden 128 --dtype bfloat16 --compile

All have the same hidden size and take [batch, time, hidden]; nn.LSTM and nn.GRU project it, which the op leaves to its
caller. A backend is timed only after its outputs and every gradient matched the reference in float64 on the very shape
that is timed; exit code 1: triton did not. Rounds are interleaved. Times are milliseconds, from CUDA events: the median
and the 20% and 80% quantiles over the rounds. Without an NVIDIA GPU: one line, and exit code 2.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastweights.ops import UnsupportedBackend, fast_weights_rnn
from fastweights.rules import Hebbian

SHAPES = ((128, 9, 50), (128, 11, 100), (512, 9, 50), (128, 64, 128), (32, 256, 128), (32, 128, 256))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}  # of the norm of the outputs and of each gradient

Step = Callable[[], list[Tensor]]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("batch", "time", "hidden"):
        parser.add_argument(f"--{name}", type=int, help="give all three, or none for the default shapes")
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--compile", action="store_true", help="also torch.compile of the attention backend (minutes)")
    options = parser.parse_args(arguments)
    shape = (options.batch, options.time, options.hidden)
    if any(shape) and not all(shape):
        parser.error("--batch, --time and --hidden go together: give all three or none")
    if not torch.cuda.is_available() or torch.version.hip is not None:
        print("benchmarks/gpu.py: no NVIDIA GPU here (torch.cuda.is_available() is False): nothing measured")
        return 2
    print(versions(options.dtype))
    failed = False
    for batch, time, hidden in [shape] if all(shape) else SHAPES:
        failed |= measure(batch, time, hidden, options)
    return int(failed)


def versions(dtype: str) -> str:
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = "not installed"
    return (
        f"{torch.cuda.get_device_name()}, {dtype}, torch {torch.__version__}, triton {triton}, CUDA "
        f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, "
        f"TF32 matmul {torch.backends.cuda.matmul.allow_tf32}, TF32 cuDNN {torch.backends.cudnn.allow_tf32}"
    )


def measure(batch: int, time: int, hidden: int, options: argparse.Namespace) -> bool:
    print(f"\nbatch {batch}, time {time}, hidden {hidden}, inner_steps {options.inner_steps}")
    generator = torch.Generator().manual_seed(0)
    dtype, settings = DTYPES[options.dtype], {"inner_steps": options.inner_steps}

    def leaf(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        drawn = torch.randn(*shape, generator=generator) * scale + shift
        return drawn.to("cuda", dtype).requires_grad_()

    leaves = [leaf(batch, time, hidden), leaf(hidden, hidden, scale=0.4 / hidden**0.5)]
    leaves += [leaf(hidden, scale=0.2, shift=1.0), leaf(hidden, scale=0.2)]
    weigh = torch.randn(batch, time, hidden, generator=generator).to("cuda", dtype)

    def op(backend: str, function: Callable[..., Tensor] | None = None) -> Step:
        function = function or outputs_of(backend, settings)
        return lambda: forward_backward(function(*leaves), leaves, weigh)

    def library(module: nn.RNNBase) -> Step:
        module = module.to("cuda", dtype)
        module.flatten_parameters()  # after another dtype cuDNN would gather them at every call
        wanted = [leaves[0], *module.parameters()]
        return lambda: forward_backward(module(leaves[0])[0], wanted, weigh)

    steps = {name: op(name) for name in ("triton", "attention")}
    if options.compile:
        steps["attention, torch.compile"] = op("attention", torch.compile(outputs_of("attention", settings)))
    truth = reference([v.detach().double().requires_grad_() for v in leaves], weigh.double(), settings)
    failed = False
    for name in list(steps):
        try:
            error = largest_error(steps[name](), truth)
        except UnsupportedBackend as reason:
            print(f"  {name}: not run, {reason}")
            del steps[name]
            continue
        if not error <= TOLERANCES[options.dtype]:
            print(f"  {name}: not timed, off from the reference by {error:.1e}, wanted {TOLERANCES[options.dtype]:.0e}")
            del steps[name]
            failed |= name == "triton"
        else:
            print(f"  {name}: equals the reference to {error:.1e}")
    steps["nn.LSTM"] = library(nn.LSTM(hidden, hidden, batch_first=True))
    steps["nn.GRU"] = library(nn.GRU(hidden, hidden, batch_first=True))
    table(rounds(steps, options.rounds))
    return failed


def outputs_of(backend: str, settings: dict[str, int]) -> Callable[..., Tensor]:
    rule = Hebbian(decay=0.95, rate=0.5)

    def function(*leaves: Tensor) -> Tensor:
        return fast_weights_rnn(*leaves, rule=rule, backend=backend, need_state=False, **settings)[0]

    return function


def forward_backward(outputs: Tensor, leaves: list[Tensor], weigh: Tensor) -> list[Tensor]:
    return [outputs, *torch.autograd.grad(outputs, leaves, weigh)]


def reference(leaves: list[Tensor], weigh: Tensor, settings: dict[str, int]) -> list[Tensor]:
    """In pieces of 8 samples: the explicit matrices of a whole batch can be larger than the GPU."""
    function, pieces = outputs_of("reference", settings), []
    for x, w in zip(leaves[0].split(8), weigh.split(8), strict=True):
        x = x.detach().requires_grad_()
        pieces.append(forward_backward(function(x, *leaves[1:]), [x, *leaves[1:]], w))
    outputs, d_inputs, *shared = zip(*pieces, strict=True)
    return [torch.cat(outputs), torch.cat(d_inputs), *(torch.stack(parts).sum(0) for parts in shared)]


def largest_error(got: list[Tensor], want: list[Tensor]) -> float:
    return max(((g.double() - w).norm() / w.norm()).item() for g, w in zip(got, want, strict=True))


def rounds(steps: dict[str, Step], count: int) -> dict[str, list[float]]:
    """Milliseconds a step; in a round each is repeated ten times, or for some 50 ms, but once at least."""
    repeats: dict[str, int] = {}
    for name, step in steps.items():
        milliseconds(step, 5)
        repeats[name] = max(1, min(10, round(50 / milliseconds(step, 1))))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(count):
        for name, step in steps.items():
            times[name].append(milliseconds(step, repeats[name]))
    return times


def milliseconds(step: Step, repeats: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(repeats):
        step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / repeats


def table(times: dict[str, list[float]]) -> None:
    print(f"  {'forward + backward':26} {'median':>9} {'20%':>9} {'80%':>9}  of nn.LSTM")
    quantiles = {n: torch.tensor(v).quantile(torch.tensor([0.5, 0.2, 0.8])).tolist() for n, v in times.items()}
    for name, (middle, low, high) in quantiles.items():
        print(f"  {name:26} {middle:9.3f} {low:9.3f} {high:9.3f}  {middle / quantiles['nn.LSTM'][0]:.2f}")


if __name__ == "__main__":
    sys.exit(main())
