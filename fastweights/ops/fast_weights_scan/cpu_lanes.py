"""What the lanes of other kernels do not have: a look ahead into memory, and hints for the compiler."""

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastweights.ops.cpu.lanes import _element


@intrinsic
def bring(typing: Any, array: Any, index: Any) -> Any:
    """Bring the cache line of array[index] near, wherever that is; nothing is read, nothing fails."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        pointer = _element(context, builder, sig.args[0], args[0], args[1], ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, *(ir.Constant(number, each) for each in (0, 2, 1))])  # to read; level 2; data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


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
