"""A Numba type for explicit SIMD: one number of each of `count` samples, held in vector registers.

Written with it, a kernel reads as the scalar recurrence of one sample and computes 16 (float32) or 8 (float64) at
once, without a horizontal sum anywhere; LLVM's own vectoriser does not keep the accumulators of a matrix product in
registers. `kind` is an empty array that carries the dtype, and with it the number of lanes.
Infinities and NaN keep their meaning: no flag here allows LLVM to assume that there are none.
"""

import operator
from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

_FLAGS = ("contract", "nsz")


class Lanes(types.Type):
    """`count` numbers of `dtype`, an LLVM vector."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(name=f"Lanes({dtype} x {count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Lanes) -> None:
        super().__init__(manager, of, _vector(of))


def _vector(of: Lanes) -> ir.VectorType:
    return ir.VectorType(_scalar(of.dtype), of.count)


def _scalar(dtype: types.Float) -> ir.Type:
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def _lanes(kind: types.Array) -> Lanes:
    return Lanes(kind.dtype, 512 // kind.dtype.bitwidth)  # 64 bytes: a register of AVX-512, two of AVX2, four of NEON


def _constant(of: Lanes, value: float) -> ir.Constant:
    return ir.Constant(_vector(of), [value] * of.count)


def _operator(function: Any, build: str) -> None:
    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Lanes, Lanes)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, build)(*args, flags=_FLAGS)


for _function, _build in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _build)


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: ir.Type) -> Any:
    """A pointer to array[index], without Numba's handling of negative indices."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


@intrinsic
def at(typing: Any, address: Any, kind: Any) -> Any:
    """The pointer that an integer address is, to numbers of the dtype of the array, or of the NumPy type, `kind`."""
    dtype = kind.dtype if isinstance(kind, types.Array) else kind.instance_type

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return types.CPointer(dtype)(types.int64, kind), generate


@intrinsic
def integer(typing: Any, value: Any) -> Any:
    """The integer, no longer a literal to Numba: a helper is compiled once, not for each literal that it is given."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0]

    return types.int64(types.int64), generate


@intrinsic
def lanes_of(typing: Any, kind: Any) -> Any:
    """How many samples a vector holds: a constant of the machine code."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), _lanes(kind).count)

    return types.int64(kind), generate


@intrinsic
def load(typing: Any, array: Any, index: Any, kind: Any) -> Any:
    """The lanes at array[index], array[index + 1] ..."""
    lanes = _lanes(kind)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _element(context, builder, sig.args[0], args[0], args[1], _vector(lanes))
        return builder.load(pointer, align=lanes.dtype.bitwidth // 8)

    return lanes(array, types.int64, kind), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index], array[index + 1] ... = the lanes"""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _element(context, builder, sig.args[0], args[0], args[1], _vector(value))
        builder.store(args[2], pointer, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), generate


@intrinsic
def transpose(typing: Any, source: Any, s0: Any, s_step: Any, out: Any, o0: Any, o_step: Any, kind: Any) -> Any:
    """A square block: out[o0 + k o_step + j] = source[s0 + j s_step + k] for j and k below the number of lanes."""
    lanes = _lanes(kind)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def places(array: int) -> Iterator[Any]:
            index, step = args[array + 1], args[array + 2]
            for _ in range(lanes.count):
                yield _element(context, builder, sig.args[array], args[array], index, _vector(lanes))
                index = builder.add(index, step)

        align = lanes.dtype.bitwidth // 8
        rows = [builder.load(place, align=align) for place in places(0)]
        # swap the off-diagonal quarters of ever smaller squares
        half = lanes.count // 2
        while half:
            for j in range(lanes.count):
                if not j & half:
                    rows[j], rows[j + half] = (
                        _shuffle(builder, rows[j], rows[j + half], half, lanes.count, first) for first in (0, half)
                    )
            half //= 2
        for row, place in zip(rows, places(3), strict=True):
            builder.store(row, place, align=align)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, out, types.int64, types.int64, kind), generate


def _shuffle(builder: Any, a: Any, b: Any, half: int, count: int, first: int) -> Any:
    """The half-blocks of a and b that begin at `first` of each pair of them, side by side."""
    picked = [k + first if not k & half else count + k - half + first for k in range(count)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), count), picked)
    return builder.shuffle_vector(a, b, mask)


@intrinsic
def spread(typing: Any, array: Any, index: Any, kind: Any) -> Any:
    """array[index] in every lane"""
    lanes = _lanes(kind)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        number = builder.load(_element(context, builder, sig.args[0], args[0], args[1], _scalar(lanes.dtype)))
        return _broadcast(builder, number, lanes)

    return lanes(array, types.int64, kind), generate


@intrinsic
def fill(typing: Any, number: Any, kind: Any) -> Any:
    """A number in every lane"""
    lanes = _lanes(kind)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _broadcast(builder, context.cast(builder, args[0], sig.args[0], lanes.dtype), lanes)

    return lanes(number, kind), generate


def _broadcast(builder: Any, number: Any, lanes: Lanes) -> Any:
    undefined = ir.Constant(_vector(lanes), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
    return builder.shuffle_vector(first, undefined, mask)


@intrinsic
def root(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "llvm.sqrt", value, args)

    return value(value), generate


@intrinsic
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where the machine can, in every copy of a loop: LLVM may part a product from its sum."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "llvm.fmuladd", a, args)

    return a(a, b, c), generate


@intrinsic
def where_positive(typing: Any, test: Any, value: Any) -> Any:
    """value where test > 0, else 0; where test is NaN, value: as torch's gradient of a ReLU"""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = _constant(value, 0.0)
        return builder.select(builder.fcmp_ordered("<=", args[0], zero), zero, args[1])

    return value(test, value), generate


@intrinsic
def rectify(typing: Any, value: Any) -> Any:
    """max(value, 0), and NaN where value is"""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = _constant(value, 0.0)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), zero, args[0])

    return value(value), generate


def _call(builder: Any, name: str, value: Lanes, args: Any) -> Any:
    vector = _vector(value)
    short = "f32" if value.dtype == types.float32 else "f64"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * len(args)), f"{name}.v{value.count}{short}"
    )
    return builder.call(function, args)


@intrinsic
def hyperbolic_tangent(typing: Any, value: Any) -> Any:
    """tanh to a few units in the last place: e / (e + 2) with e = exp(2 |x|) - 1, by a power series around n ln 2"""
    single = value.dtype == types.float32
    bound, shift, mantissa, degree = (10.0, 1.5 * 2.0**23, 23, 8) if single else (20.0, 1.5 * 2.0**52, 52, 14)
    # the first part has trailing zeros in its mantissa, so that n times it is exact
    high, low = (0.693359375, -2.12194440e-4) if single else (0.6931471803691238, 1.9082149292705877e-10)
    integer = ir.VectorType(ir.IntType(value.dtype.bitwidth), value.count)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def number(x: float) -> Any:
            return _constant(value, x)

        def mul(a: Any, b: Any) -> Any:
            return builder.fmul(a, b, flags=("contract",))

        def add(a: Any, b: Any) -> Any:
            return builder.fadd(a, b, flags=("contract",))

        size = _call(builder, "llvm.fabs", value, args)
        size = builder.select(builder.fcmp_ordered(">", size, number(bound)), number(bound), size)
        double = mul(size, number(2.0))
        # adding 1.5 * 2^mantissa rounds to an integer, and leaves it in the low bits
        shifted = builder.fadd(mul(double, number(1.4426950408889634)), number(shift))
        n = builder.fsub(shifted, number(shift))
        rest = add(add(double, mul(n, number(-high))), mul(n, number(-low)))
        series, factorial = number(0.0), 1.0
        coefficients = []
        for power in range(2, degree + 1):
            factorial *= power
            coefficients.append(1.0 / factorial)
        for coefficient in reversed(coefficients):
            series = add(mul(series, rest), number(coefficient))
        less_one = add(rest, mul(mul(rest, rest), series))
        bits = builder.shl(builder.bitcast(shifted, integer), ir.Constant(integer, [mantissa] * value.count))
        one = builder.bitcast(number(1.0), integer)
        scale = builder.bitcast(builder.add(bits, one), _vector(value))
        e = add(mul(scale, less_one), builder.fsub(scale, number(1.0)))
        # near 1 what is left to 1 is computed: its own rounding is the only one that counts there
        far = builder.fcmp_ordered(">", size, number(0.55))
        ratio = builder.fdiv(builder.select(far, number(2.0), e), add(e, number(2.0)))
        result = builder.select(far, builder.fsub(number(1.0), ratio), ratio)
        return _call(builder, "llvm.copysign", value, [result, args[0]])

    return value(value), generate
