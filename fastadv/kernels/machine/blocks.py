"""Products of, and sums into, a vector by blocks of four columns: each is one register's worth.

The plain functions say what is computed; they are what runs uncompiled, and for types other than
floats.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_FOUR = ir.VectorType(ir.DoubleType(), 4)


def dot_blocks(values, columns, start, stop, x):
    """Return the sum of ``values[p]`` (4,) times the four entries of ``x`` from ``columns[p]`` on.

    For p from ``start`` to ``stop``; ``x`` is float64. Left to itself LLVM multiplies one by one.
    """
    total = 0.0
    for p in range(start, stop):
        for k in range(4):
            total += values[p, k] * x[columns[p] + k]
    return total


def add_blocks(values, columns, start, stop, factor, out):
    """Add to the entries of ``out`` from ``columns[p]`` on ``values[p]`` (4,) times ``factor``.

    For p from ``start`` to ``stop``; ``out`` is float64. Products are rounded before they are added:
    what is added to zeros and taken off again leaves zeros.
    """
    for p in range(start, stop):
        for k in range(4):
            out[columns[p] + k] += factor * values[p, k]


def _block_loaders(context, builder, signature, arguments):
    """Return functions of p: the four values of a block, and the pointer to those it belongs to."""

    def data(k):
        return context.make_array(signature.args[k])(context, builder, arguments[k]).data

    def vectors(base, k, vector):
        return builder.bitcast(builder.gep(base, [k]), vector.as_pointer())

    kind = signature.args[0].dtype
    narrow, values, columns, other = ir.VectorType(_FLOATS[kind], 4), data(0), data(1), data(-1)

    def block(p):
        place = vectors(values, builder.mul(p, _INT64(4)), narrow)
        loaded = builder.load(place, align=kind.bitwidth // 8)
        return loaded if narrow == _FOUR else builder.fpext(loaded, _FOUR)

    def place(p):
        column = builder.zext(builder.load(builder.gep(columns, [p])), _INT64)
        return vectors(other, column, _FOUR)

    return block, place


@intrinsic
def _dot_blocks(typing_context, values, columns, start, stop, x):
    signature = types.float64(values, columns, types.intp, types.intp, x)

    def emit(context, builder, signature, arguments):
        block, place = _block_loaders(context, builder, signature, arguments)
        # Two sums in turn: the next product need not wait for the last one's.
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_FOUR, [0.0] * 4)) for _ in range(2)]

        def add(p, total):
            at = builder.load(place(p), align=8)
            product = builder.fmul(block(p), at, flags=["contract"])
            product = builder.fadd(builder.load(total), product, flags=["contract"])
            builder.store(product, total)

        _, _, start, stop, _ = arguments
        paired = builder.sub(stop, builder.and_(builder.sub(stop, start), _INT64(1)))
        with cgutils.for_range_slice(builder, start, paired, _INT64(2)) as (p, _):
            add(p, sums[0])
            add(builder.add(p, _INT64(1)), sums[1])
        with cgutils.for_range_slice(builder, paired, stop, _INT64(1)) as (p, _):
            add(p, sums[0])
        total = builder.fadd(*(builder.load(part) for part in sums))
        p, q, r, s = (builder.extract_element(total, _INT32(k)) for k in range(4))
        return builder.fadd(builder.fadd(p, q), builder.fadd(r, s))

    return signature, emit


@intrinsic
def _add_blocks(typing_context, values, columns, start, stop, factor, out):
    signature = types.void(values, columns, types.intp, types.intp, types.float64, out)

    def emit(context, builder, signature, arguments):
        block, place = _block_loaders(context, builder, signature, arguments)
        _, _, start, stop, factor, _ = arguments
        factor = builder.insert_element(ir.Constant(_FOUR, ir.Undefined), factor, _INT32(0))
        lanes = ir.Constant(ir.VectorType(_INT32, 4), [0] * 4)
        factor = builder.shuffle_vector(factor, ir.Constant(_FOUR, ir.Undefined), lanes)
        with cgutils.for_range_slice(builder, start, stop, _INT64(1)) as (p, _):
            product, at = builder.fmul(block(p), factor), place(p)
            builder.store(builder.fadd(builder.load(at, align=8), product), at, align=8)
        return context.get_dummy_value()

    return signature, emit


@overload(dot_blocks)
def _dot_blocks_of_floats(values, columns, start, stop, x):
    if values.dtype not in _FLOATS or x.dtype != types.float64:
        return dot_blocks
    return lambda values, columns, start, stop, x: _dot_blocks(values, columns, start, stop, x)


@overload(add_blocks)
def _add_blocks_of_floats(values, columns, start, stop, factor, out):
    if values.dtype not in _FLOATS or out.dtype != types.float64:
        return add_blocks

    def by_registers(values, columns, start, stop, factor, out):
        _add_blocks(values, columns, start, stop, factor, out)

    return by_registers
