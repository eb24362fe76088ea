"""Compile the scan's Triton kernels for an NVIDIA GPU, which need not be there, and print what each program takes.

    python tests/compile_scan_kernels.py          a line a kernel: warps, registers and bytes spilled a thread
    python tests/compile_scan_kernels.py --all    more sizes

Exits with 1 if one does not compile or if a program takes more than a multiprocessor has.
"""

import sys
from itertools import product

from compile_triton_kernels import CAPABILITY, resources  # which tells Triton not to interpret

# isort: split
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fastweights.ops.fast_weights_scan import triton as backend
from fastweights.ops.fast_weights_scan import triton_kernels as kernels

FLOAT, DOUBLE = torch.float32, torch.float64
SETTINGS = [  # key, value, dtype, channels, what is erased, undecayed, transposed, lengths and resets
    (64, 64, FLOAT, 1, "key", False, False, False),
    (128, 128, FLOAT, 128, "another", False, False, True),
    (7, 11, DOUBLE, 7, "another", True, True, True),
    (256, 64, FLOAT, 0, None, False, False, False),
]
MORE = [
    *((size, size, FLOAT, 1, "key", False, False, False) for size in (16, 32, 64, 128, 256)),
    *((size, size, FLOAT, size, "another", True, True, True) for size in (16, 32, 64, 128, 256)),
    *((size, size, DOUBLE, size, "another", True, False, True) for size in (64, 256)),
]


def build(name, keys, values, dtype, channels, erase, undecayed, transposed, broken):
    key, value = (torch.empty(1, 1, 1, size, dtype=dtype) for size in (keys, values))
    decay = None if not channels else torch.empty((1, 1, 1) if channels == 1 else (1, 1, 1, keys))
    most = backend.FORWARD if name == "forward" else backend.BACKWARD
    constants, _, options = backend._shape(key, value, decay, undecayed, transposed, most)
    constants |= {"TIED": erase == "key"}
    constants |= {} if channels else {"decay": None, "d_decay": None}
    constants |= {} if erase else {"erase": None}
    constants |= {} if erase == "another" else {"d_erase": None}
    constants |= {} if broken else {"lengths": None, "resets": None}
    kernel = getattr(kernels, name)
    known = {"lengths": "*i64", "resets": "*i1"} | dict.fromkeys(["time", "heads", "chunk"], "i32")
    wide = "*fp64" if dtype == DOUBLE else "*fp32"
    types = {n: "constexpr" if n in constants else known.get(n, wide) for n in kernel.arg_names}
    source = ASTSource(kernel, types, {n: v for n, v in constants.items() if n in kernel.arg_names})
    return triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)


def main():
    for settings, name in product(MORE if "--all" in sys.argv else SETTINGS, ("forward", "backward")):
        compiled = build(name, *settings)
        registers, spilled = resources(compiled.asm["cubin"])
        warps, shared = compiled.metadata.num_warps, compiled.metadata.shared
        if name == "backward":  # a load that does not see what the program has stored
            assert "ld.global.nc" not in compiled.asm["ptx"]
        assert warps * 32 * registers <= 65536
        keys, values, dtype, *how = settings
        what = f"{name:8} {keys:3} x {values:3} {str(dtype)[6:]:7} {how!s:38}"
        print(f"{what} {warps} warps, {registers} registers, {spilled} bytes spilled, {shared} bytes shared")
    return 0


if __name__ == "__main__":
    sys.exit(main())
