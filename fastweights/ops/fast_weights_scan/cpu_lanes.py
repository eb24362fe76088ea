"""What the lanes of other kernels do not have: exponentials, a look ahead into memory, and hints for the compiler."""

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastweights.ops.cpu.lanes import _constant, _element, _vector


@intrinsic
def exponential(typing: Any, value: Any) -> Any:
    """exp to a few units in the last place, 0 below the least normal number, infinite above the largest: a power
    series around n ln 2."""
    single = value.dtype == types.float32
    low, high = (-87.0, 88.5) if single else (-708.0, 709.5)
    shift, mantissa, degree = (1.5 * 2.0**23, 23, 8) if single else (1.5 * 2.0**52, 52, 14)
    # the first part has trailing zeros in its mantissa, so that n times it is exact
    first, second = (0.693359375, -2.12194440e-4) if single else (0.6931471803691238, 1.9082149292705877e-10)
    integer = ir.VectorType(ir.IntType(value.dtype.bitwidth), value.count)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def number(x: float) -> Any:
            return _constant(value, x)

        def mul(a: Any, b: Any) -> Any:
            return builder.fmul(a, b, flags=("contract",))

        def add(a: Any, b: Any) -> Any:
            return builder.fadd(a, b, flags=("contract",))

        x = args[0]
        small, large = (builder.fcmp_ordered(sign, x, number(end)) for sign, end in (("<", low), (">", high)))
        inside = builder.select(builder.or_(small, large), number(0.0), x)
        # adding 1.5 * 2^mantissa rounds to an integer, and leaves it in the low bits
        shifted = builder.fadd(mul(inside, number(1.4426950408889634)), number(shift))
        n = builder.fsub(shifted, number(shift))
        rest = add(add(inside, mul(n, number(-first))), mul(n, number(-second)))
        series, factorial, coefficients = number(0.0), 1.0, []
        for power in range(2, degree + 1):
            factorial *= power
            coefficients.append(1.0 / factorial)
        for coefficient in reversed(coefficients):
            series = add(mul(series, rest), number(coefficient))
        less_one = add(rest, mul(mul(rest, rest), series))
        bits = builder.shl(builder.bitcast(shifted, integer), ir.Constant(integer, [mantissa] * value.count))
        scale = builder.bitcast(builder.add(bits, builder.bitcast(number(1.0), integer)), _vector(value))
        result = add(mul(scale, less_one), scale)
        result = builder.select(small, number(0.0), result)
        return builder.select(large, number(float("inf")), result)

    return value(value), generate


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
