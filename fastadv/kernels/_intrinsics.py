"""Three things that plain loops cannot say to the compiler, each with its meaning in plain Python.

The plain functions are what runs uncompiled, and for types other than floats.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_REGISTER = 64  # bytes of the widest there is; LLVM splits it where it is narrower
_AT_ONCE = 4  # registers that stay put while the rows go by
_FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


def add_rows(values, rows, start, stop, matrix, out):
    """Add to ``out`` (m,) the rows ``rows[p]`` of ``matrix`` (n, m), each times ``values[p]``.

    For p from ``start`` to ``stop``. ``out`` is modified in place. Left to itself LLVM stores and
    loads ``out`` again for every few rows; here it stays in registers.
    """
    for p in range(start, stop):
        for j in range(out.size):
            out[j] += values[p] * matrix[rows[p], j]


def float_of_bits(bits):
    """Return the float32 whose bits are those of the int32 ``bits``."""
    return np.int32(bits).view(np.float32)


def prefetch(array, start, stop):
    """Have the entries ``start`` to ``stop`` of a vector brought into the cache, for use soon.

    Rows in random order are where the processor's own foresight ends.
    """


@intrinsic
def _bitcast(typing_context, bits):
    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), emit


def _add_rows_of_width(n_registers):
    """Return the intrinsic that adds so many registers' worth of columns, from ``first`` on."""

    @intrinsic
    def add(typing_context, values, rows, start, stop, matrix, first, out):
        signature = types.void(values, rows, types.intp, types.intp, matrix, types.intp, out)

        def emit(context, builder, signature, arguments):
            def array(k):
                return context.make_array(signature.args[k])(context, builder, arguments[k])

            start, stop, first = arguments[2], arguments[3], arguments[5]
            kind = signature.args[4].dtype
            size, n_lanes = kind.bitwidth // 8, 8 * _REGISTER // kind.bitwidth
            int64, vector = ir.IntType(64), ir.VectorType(_FLOATS[kind], n_lanes)
            lanes = [ir.Constant(int64, k * n_lanes) for k in range(n_registers)]
            undefined = ir.Constant(vector, ir.Undefined)
            broadcast = ir.Constant(ir.VectorType(ir.IntType(32), n_lanes), [0] * n_lanes)

            def pointers(base):
                return [builder.bitcast(builder.gep(base, [k]), vector.as_pointer()) for k in lanes]

            places = pointers(builder.gep(array(6).data, [first]))
            sums = [cgutils.alloca_once_value(builder, builder.load(p, align=size)) for p in places]
            row_length = builder.extract_value(array(4).shape, 1)
            with cgutils.for_range_slice(builder, start, stop, ir.Constant(int64, 1)) as (p, _):
                value = builder.load(builder.gep(array(0).data, [p]))
                value = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
                value = builder.shuffle_vector(value, undefined, broadcast)
                row = builder.load(builder.gep(array(1).data, [p]))
                row = context.cast(builder, row, signature.args[1].dtype, types.intp)
                offset = builder.add(builder.mul(row, row_length), first)
                columns = pointers(builder.gep(array(4).data, [offset]))
                for total, place in zip(sums, columns, strict=True):
                    product = builder.fmul(
                        value, builder.load(place, align=size), flags=["contract"]
                    )
                    product = builder.fadd(builder.load(total), product, flags=["contract"])
                    builder.store(product, total)
            for total, place in zip(sums, places, strict=True):
                builder.store(builder.load(total), place, align=size)
            return context.get_dummy_value()

        return signature, emit

    return add


_add_rows_wide, _add_rows_narrow = _add_rows_of_width(_AT_ONCE), _add_rows_of_width(1)


@overload(float_of_bits)
def _float_of_bits(bits):
    return lambda bits: _bitcast(np.int32(bits))


@intrinsic
def _prefetch(typing_context, array, k):
    def emit(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        int32 = ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [cgutils.voidptr_t],
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, int32, int32, int32]),
        )
        builder.call(hint, [place, int32(0), int32(3), int32(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@overload(prefetch)
def _prefetch_lines(array, start, stop):
    step = 64 // (array.dtype.bitwidth // 8)

    def by_lines(array, start, stop):
        for k in range(start, stop, step):
            _prefetch(array, k)

    return by_lines


@overload(add_rows)
def _add_rows(values, rows, start, stop, matrix, out):
    kind = matrix.dtype
    if {values.dtype, out.dtype} != {kind} or kind not in _FLOATS:
        return add_rows
    narrow = 8 * _REGISTER // kind.bitwidth
    wide = _AT_ONCE * narrow

    def by_registers(values, rows, start, stop, matrix, out):
        first = 0
        while first + wide <= out.size:
            _add_rows_wide(values, rows, start, stop, matrix, first, out)
            first += wide
        while first + narrow <= out.size:
            _add_rows_narrow(values, rows, start, stop, matrix, first, out)
            first += narrow
        if first < out.size:
            for p in range(start, stop):
                for j in range(first, out.size):
                    out[j] += values[p] * matrix[rows[p], j]

    return by_registers
