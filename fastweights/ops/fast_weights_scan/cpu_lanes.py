"""Hints for the compiler."""

from typing import Any

from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def many_registers(typing: Any) -> Any:
    """Whether the processor has 32 vector registers: a constant of the machine code, which is kept for each kind of
    processor apart."""
    many = binding.get_host_cpu_features().get("avx512f", False)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(1), int(many))

    return types.boolean(), generate


@intrinsic
def alone(typing: Any, number: Any) -> Any:
    """The integer, whose relation to others the compiler forgets: it would add up the addresses of rows one after the
    other, and each would wait for the one before."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integer = ir.IntType(64)
        return builder.call(ir.InlineAsm(ir.FunctionType(integer, [integer]), "", "=r,0"), args)

    return types.int64(types.int64), generate
