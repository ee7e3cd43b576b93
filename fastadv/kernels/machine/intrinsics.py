"""Two things that plain loops cannot say to the compiler, each with its meaning in plain Python."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_INT32 = ir.IntType(32)


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


@overload(float_of_bits)
def _float_of_bits(bits):
    return lambda bits: _bitcast(np.int32(bits))


@intrinsic
def _prefetch(typing_context, array, k):
    def emit(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [cgutils.voidptr_t],
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _INT32, _INT32, _INT32]),
        )
        builder.call(hint, [place, _INT32(0), _INT32(3), _INT32(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@overload(prefetch)
def _prefetch_lines(array, start, stop):
    step = 64 // (array.dtype.bitwidth // 8)

    def by_lines(array, start, stop):
        for k in range(start, stop, step):
            _prefetch(array, k)

    return by_lines
