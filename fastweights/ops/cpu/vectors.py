"""What kernels over rows of numbers need: exponentials, sums of lanes, ends of rows, and a look ahead into memory."""

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import _constant, _element, _lanes, _vector, at, fill, lanes_of, load, store

ANY = 1 << 40  # the length of an array that is only known as an address


@helper
def numbers(address, kind):
    return numba.carray(at(address, kind), (ANY,))


@helper
def clear(kind, own, o, count):
    for c in range(o, o + count, lanes_of(kind)):
        store(own, c, fill(0.0, kind))


@intrinsic
def exponential(typing: Any, value: Any) -> Any:
    """exp to a few units in the last place, 0 below the least normal number, infinite above 0.7 of the largest: a
    power series around n ln 2."""
    single = value.dtype == types.float32
    low, high = (-87.0, 88.37) if single else (-708.0, 709.43)  # above, n is that of an exponent that stands for inf
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
def sum_of(typing: Any, value: Any) -> Any:
    """The sum of the lanes, by halves."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        total, half = args[0], value.count // 2
        while half:
            places = ir.Constant(ir.VectorType(ir.IntType(32), value.count), [k ^ half for k in range(value.count)])
            total = builder.fadd(total, builder.shuffle_vector(total, total, places))
            half //= 2
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return value.dtype(value), generate


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
def load_first(typing: Any, array: Any, index: Any, count: Any, kind: Any) -> Any:
    """The lanes at array[index], array[index + 1] ..., of which the first `count` are read; the others are zero."""
    lanes = _lanes(kind)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _element(context, builder, sig.args[0], args[0], args[1], _vector(lanes))
        mask, align = _first(builder, args[2], lanes), ir.Constant(ir.IntType(32), lanes.dtype.bitwidth // 8)
        vector = _vector(lanes)
        function = ir.FunctionType(vector, [vector.as_pointer(), ir.IntType(32), mask.type, vector])
        load = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.load.{_named(lanes)}")
        return builder.call(load, [pointer, align, mask, _constant(lanes, 0.0)])

    return lanes(array, types.int64, types.int64, kind), generate


@intrinsic
def store_first(typing: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """array[index], array[index + 1] ... = the first `count` lanes"""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _element(context, builder, sig.args[0], args[0], args[1], _vector(value))
        mask, align = _first(builder, args[3], value), ir.Constant(ir.IntType(32), value.dtype.bitwidth // 8)
        vector = _vector(value)
        function = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), ir.IntType(32), mask.type])
        store = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.store.{_named(value)}")
        builder.call(store, [args[2], pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, types.int64, value, types.int64), generate


@helper
def some(kind, source, place, count):
    """Of a row that ends after `count` numbers, the next vector; what lies behind the end is zero."""
    if count >= lanes_of(kind):
        return load(source, place, kind)
    return load_first(source, place, count, kind)


@helper
def put(kind, out, place, value, count):
    """As much of a vector as a row has left."""
    if count >= lanes_of(kind):
        store(out, place, value)
    else:
        store_first(out, place, value, count)


def _named(lanes: Any) -> str:
    return f"v{lanes.count}{'f32' if lanes.dtype == types.float32 else 'f64'}.p0"


def _first(builder: Any, count: Any, lanes: Any) -> Any:
    """Which lanes lie below `count`."""
    kind = ir.VectorType(ir.IntType(64), lanes.count)
    undefined, zero = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
    every = builder.shuffle_vector(builder.insert_element(undefined, count, zero), undefined, mask)
    return builder.icmp_signed("<", ir.Constant(kind, list(range(lanes.count))), every)
