"""Compile the Triton kernels for an NVIDIA GPU, which need not be there, and print what each program takes.

    python tests/compile_triton_kernels.py          a line a kernel: registers a thread, bytes spilled a thread

Exits with 1 if one does not compile or if a program takes more than a multiprocessor has.
"""

import os
import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "0"

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fastweights.ops.fast_weights_rnn import triton as backend
from fastweights.ops.fast_weights_rnn import triton_kernels as kernels

CAPABILITY = 90
SETTINGS = [  # hidden, inner steps, type of the inputs, layer norm, initial weights, lengths, ReLU, training, Cosine
    (50, 1, torch.bfloat16, True, False, False, True, True, False),
    (100, 1, torch.float32, True, True, False, True, True, False),
    (256, 1, torch.float32, True, True, True, True, True, False),
    (7, 3, torch.float64, False, True, True, False, True, False),
    (20, 0, torch.float16, True, False, True, False, True, False),
    (33, 1, torch.float32, True, True, False, True, False, False),
    (50, 1, torch.bfloat16, True, False, False, True, True, True),
    (256, 1, torch.float32, True, True, True, True, True, True),
    (7, 3, torch.float64, False, True, True, False, True, True),
    (33, 1, torch.float32, True, True, False, True, False, True),
]


def build(name, hidden, inner_steps, dtype, layer_norm, initial, ragged, relu, train, cosine):
    inputs = torch.empty(1, 1, hidden, dtype=dtype)
    constants, warps = backend._shape(
        inputs, inner_steps, inputs if layer_norm else None, inputs if initial else None,
        inputs if ragged else None, relu, cosine,
    )  # fmt: skip
    constants |= {"TRAIN": train, "EPSILON": 1e-5, "stride_unit": 1}
    constants |= {} if layer_norm else {"gain": None, "bias": None}
    constants |= {} if initial else {"first": None}
    constants |= {} if ragged else {"lengths": None}
    constants |= {} if cosine else {"directions": None}
    short = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    wide = "*fp64" if dtype == torch.float64 else "*fp32"
    known = {"lengths": "*i64", "rate": "*fp64", "inputs": f"*{short[dtype]}"}
    known |= dict.fromkeys(["time", "stride_batch", "stride_time"], "i32")
    kernel = getattr(kernels, name)
    types = {n: "constexpr" if n in constants else known.get(n, wide) for n in kernel.arg_names}
    source = ASTSource(kernel, types, {n: v for n, v in constants.items() if n in kernel.arg_names})
    target = GPUTarget("cuda", CAPABILITY, 32)
    return triton.compile(source, target=target, options={"num_warps": warps, "num_stages": 1}), warps


def resources(cubin):
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return tuple(int(re.search(rf"{what}:(\d+)", text).group(1)) for what in ("REG", "STACK"))


def main():
    for settings, name in product(SETTINGS, ("forward", "backward")):
        if name == "backward" and not settings[-2]:
            continue
        compiled, warps = build(name, *settings)
        assert "ld.global.nc" not in compiled.asm["ptx"], "a load that does not see what the program has stored"
        registers, spilled = resources(compiled.asm["cubin"])
        assert warps * 32 * registers <= 65536
        what = f"{name:8} hidden {settings[0]:3} {str(settings[2])[6:]:8} {'Cosine' if settings[-1] else 'Hebbian':7}"
        print(f"{what} {warps} warps, {registers} registers, {spilled} bytes spilled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
