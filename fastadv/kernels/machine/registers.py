"""Sums of rows, and products, that stay in registers while rows of a matrix go by.

Left to itself LLVM stores and loads such sums again for every few rows. The plain functions say what
is computed; they are what runs uncompiled, and for types other than floats.
"""

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_REGISTER = 64  # bytes of the widest there is; LLVM splits it where it is narrower
_AT_ONCE = 4  # registers that stay put while the rows go by

# A block of a product takes most registers there are: 32 of 64 bytes or, before AVX-512, 16 of 32.
# That moves no bit: each entry is a sum of its own.
_FEATURES = numba.config.CPU_FEATURES  # that Numba compiles for, unless it is this processor
if _FEATURES is None:
    _FEATURES = llvmlite.binding.get_host_cpu_features().flatten()
_BLOCK_REGISTER, _BLOCK_REGISTERS = (64, 4) if "+avx512f" in _FEATURES else (32, 2)
ROWS = 4  # of a block
NARROW_ROWS = 8  # of one that is a single register wide

_FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


def add_rows(values, rows, start, stop, matrix, out):
    """Add to ``out`` (m,) the rows ``rows[p]`` of ``matrix`` (n, m), each times ``values[p]``.

    For p from ``start`` to ``stop``. ``out`` is modified in place, and stays in registers.
    """
    for p in range(start, stop):
        for j in range(out.size):
            out[j] += values[p] * matrix[rows[p], j]


def add_to_rows(values, rows, start, stop, row, out):
    """Add to the rows ``rows[p]`` of ``out`` (n, m) the vector ``row`` (m,) times ``values[p]``.

    For p from ``start`` to ``stop``. ``out`` is modified in place; ``row`` stays in registers.
    """
    for p in range(start, stop):
        for j in range(row.size):
            out[rows[p], j] += values[p] * row[j]


def lanes(out):
    """Return how many numbers of the type of ``out`` a register of a product's block holds."""
    return _BLOCK_REGISTER // out.itemsize


def wide(out):
    """Return how many columns a product's block has."""
    return _BLOCK_REGISTERS * _BLOCK_REGISTER // out.itemsize


class _Columns:
    """The code that both sums of rows are made of: some registers' worth of columns, from one on."""

    def __init__(
        self, context, builder, signature, arguments, kind, n_registers, register=_REGISTER
    ):
        self.context, self.builder = context, builder
        self.signature, self.arguments = signature, arguments
        self.size, self.n_lanes = kind.bitwidth // 8, 8 * register // kind.bitwidth
        self.vector = ir.VectorType(_FLOATS[kind], self.n_lanes)
        self.lanes = [ir.Constant(_INT64, k * self.n_lanes) for k in range(n_registers)]

    def array(self, k):
        """Return argument ``k``, an array."""
        make = self.context.make_array(self.signature.args[k])
        return make(self.context, self.builder, self.arguments[k])

    def places(self, base):
        """Return where each register's worth of columns begins."""
        at = [self.builder.gep(base, [k]) for k in self.lanes]
        return [self.builder.bitcast(place, self.vector.as_pointer()) for place in at]

    def entry(self, matrix, row, column):
        """Return the address of an entry of a matrix."""
        length = self.builder.extract_value(matrix.shape, 1)
        offset = self.builder.add(self.builder.mul(row, length), column)
        return self.builder.gep(matrix.data, [offset])

    def row_of(self, matrix, p, first):
        """Return the places in the row ``rows[p]`` of a matrix."""
        row = self.builder.load(self.builder.gep(self.array(1).data, [p]))
        row = self.context.cast(self.builder, row, self.signature.args[1].dtype, types.intp)
        return self.places(self.entry(matrix, row, first))

    def value_of(self, p):
        """Return ``values[p]`` in all lanes."""
        return self.everywhere(self.builder.load(self.builder.gep(self.array(0).data, [p])))

    def everywhere(self, value):
        """Return a number in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        value = self.builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
        all_first = ir.Constant(ir.VectorType(_INT32, self.n_lanes), [0] * self.n_lanes)
        return self.builder.shuffle_vector(value, undefined, all_first)

    def load(self, place):
        return self.builder.load(place, align=self.size)

    def store(self, value, place):
        self.builder.store(value, place, align=self.size)

    def plus_product(self, total, a, b):
        """Return total + a b, in one instruction where there is one."""
        product = self.builder.fmul(a, b, flags=["contract"])
        return self.builder.fadd(total, product, flags=["contract"])

    def for_each(self):
        """Loop over p from ``start`` to ``stop``."""
        start, stop = self.arguments[2], self.arguments[3]
        return cgutils.for_range_slice(self.builder, start, stop, ir.Constant(_INT64, 1))


def _add_rows_of_width(n_registers):
    """Return the intrinsic that adds so many registers' worth of columns, from ``first`` on."""

    @intrinsic
    def add(typing_context, values, rows, start, stop, matrix, first, out):
        signature = types.void(values, rows, types.intp, types.intp, matrix, types.intp, out)

        def emit(context, builder, signature, arguments):
            columns = _Columns(context, builder, signature, arguments, matrix.dtype, n_registers)
            first, table = arguments[5], columns.array(4)
            places = columns.places(builder.gep(columns.array(6).data, [first]))
            sums = [cgutils.alloca_once_value(builder, columns.load(place)) for place in places]
            with columns.for_each() as (p, _):
                value = columns.value_of(p)
                for total, place in zip(sums, columns.row_of(table, p, first), strict=True):
                    grown = columns.plus_product(builder.load(total), value, columns.load(place))
                    builder.store(grown, total)
            for total, place in zip(sums, places, strict=True):
                columns.store(builder.load(total), place)
            return context.get_dummy_value()

        return signature, emit

    return add


def _add_to_rows_of_width(n_registers):
    """Return the intrinsic that adds to so many registers' worth of columns, from ``first`` on."""

    @intrinsic
    def add(typing_context, values, rows, start, stop, row, first, out):
        signature = types.void(values, rows, types.intp, types.intp, row, types.intp, out)

        def emit(context, builder, signature, arguments):
            columns = _Columns(context, builder, signature, arguments, row.dtype, n_registers)
            first, table = arguments[5], columns.array(6)
            places = columns.places(builder.gep(columns.array(4).data, [first]))
            addends = [columns.load(place) for place in places]
            with columns.for_each() as (p, _):
                value = columns.value_of(p)
                for addend, place in zip(addends, columns.row_of(table, p, first), strict=True):
                    columns.store(columns.plus_product(columns.load(place), value, addend), place)
            return context.get_dummy_value()

        return signature, emit

    return add


def _block(n_rows, n_registers):
    """Return the intrinsic of `_products_of`."""

    @intrinsic
    def add(typing_context, x, i, k, depth, panel, first, out, j):
        index = types.intp
        signature = types.void(x, index, index, index, panel, index, out, index)

        def emit(context, builder, signature, arguments):
            code = _Columns(
                context, builder, signature, arguments, out.dtype, n_registers, _BLOCK_REGISTER
            )
            x, panel, out_ = code.array(0), code.array(4), code.array(6)
            _, i, k, depth, _, first, _, j = arguments
            rows = [builder.add(i, ir.Constant(_INT64, r)) for r in range(n_rows)]
            factors = [code.entry(x, row, k) for row in rows]
            places = [code.places(code.entry(out_, row, j)) for row in rows]
            sums = [[cgutils.alloca_once_value(builder, code.load(q)) for q in p] for p in places]
            with cgutils.for_range(builder, depth) as loop:
                row_of_panel = builder.add(k, loop.index)
                right = [code.load(p) for p in code.places(code.entry(panel, row_of_panel, first))]
                for row, factor in zip(sums, factors, strict=True):
                    left = code.everywhere(builder.load(builder.gep(factor, [loop.index])))
                    for total, other in zip(row, right, strict=True):
                        grown = code.plus_product(builder.load(total), left, other)
                        builder.store(grown, total)
            for row, targets in zip(sums, places, strict=True):
                for total, place in zip(row, targets, strict=True):
                    code.store(builder.load(total), place)
            return context.get_dummy_value()

        return signature, emit

    return add


def _products_of(n_rows, n_registers):
    """Return what adds one block of a product to ``out``: ``n_rows`` by so many registers.

    ``add(x, i, k, depth, panel, first, out, j)`` adds to the rows from ``i`` and the columns from
    ``j`` on the rows of ``x`` from ``i`` on, of which ``depth`` columns from ``k`` on, times those
    rows of ``panel``, columns from ``first`` on. Each entry is one sum in their order.
    """

    def add(x, i, k, depth, panel, first, out, j):
        width = n_registers * lanes(out)
        for p in range(k, k + depth):
            for r in range(i, i + n_rows):
                out[r, j : j + width] += x[r, p] * panel[p, first : first + width]

    block = _block(n_rows, n_registers)

    @overload(add, jit_options={"forceinline": True})
    def compiled(x, i, k, depth, panel, first, out, j):
        return lambda x, i, k, depth, panel, first, out, j: block(
            x, i, k, depth, panel, first, out, j
        )

    return add


add_products, add_products_row = (
    _products_of(ROWS, _BLOCK_REGISTERS),
    _products_of(1, _BLOCK_REGISTERS),
)
add_products_narrow, add_products_narrow_row = _products_of(NARROW_ROWS, 1), _products_of(1, 1)


@overload(lanes)
def _lanes(out):
    n = 8 * _BLOCK_REGISTER // out.dtype.bitwidth
    return lambda out: n


@overload(wide)
def _wide(out):
    n = 8 * _BLOCK_REGISTERS * _BLOCK_REGISTER // out.dtype.bitwidth
    return lambda out: n


_add_rows_wide, _add_rows_narrow = _add_rows_of_width(_AT_ONCE), _add_rows_of_width(1)
_add_to_rows_wide, _add_to_rows_narrow = _add_to_rows_of_width(_AT_ONCE), _add_to_rows_of_width(1)


@overload(add_rows, jit_options={"forceinline": True})
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


@overload(add_to_rows, jit_options={"forceinline": True})
def _add_to_rows(values, rows, start, stop, row, out):
    kind = out.dtype
    if {values.dtype, row.dtype} != {kind} or kind not in _FLOATS:
        return add_to_rows
    narrow = 8 * _REGISTER // kind.bitwidth
    wide = _AT_ONCE * narrow

    def by_registers(values, rows, start, stop, row, out):
        first = 0
        while first + wide <= row.size:
            _add_to_rows_wide(values, rows, start, stop, row, first, out)
            first += wide
        while first + narrow <= row.size:
            _add_to_rows_narrow(values, rows, start, stop, row, first, out)
            first += narrow
        if first < row.size:
            for p in range(start, stop):
                for j in range(first, row.size):
                    out[rows[p], j] += values[p] * row[j]

    return by_registers
