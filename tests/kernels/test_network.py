"""Network, loss and training kernels against their twins; random numbers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import UNCOMPILED
from twins import loss as loss_twin
from twins import random as random_twin

from fastadv.kernels import random
from fastadv.kernels._jit import kernel
from fastadv.kernels.linalg import exponential, neighbors, product, sparse
from fastadv.kernels.machine import registers as _registers
from fastadv.kernels.network import dense, loss
from fastadv.kernels.training import sgd
from fastadv.models.rows import Rows
from fastadv.reference import dense as dense_twin
from fastadv.reference import neighbors as neighbors_twin
from fastadv.reference import sgd as sgd_twin
from fastadv.threads import set_threads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_passes_equal_their_twins(hidden: tuple[int, ...], activation: int, dtype: type) -> None:
    sizes, n = np.array([7, *hidden, 3]), 70
    params = RNG.normal(size=int(((sizes[:-1] + 1) * sizes[1:]).sum())).astype(dtype)
    X, dlogits = RNG.random((n, 7)).astype(dtype), RNG.normal(size=(n, 3)).astype(dtype)
    found = []
    for module, kind in ((dense, dtype), (dense_twin, np.float64)):
        p, x, dz = params.astype(kind), X.astype(kind), dlogits.astype(kind)
        h, d = (np.zeros(n * sum(hidden), kind) for _ in range(2))
        z, g = np.empty((n, 3), kind), np.empty_like(p)
        module.forward(x, p, sizes, activation, h, z)
        module.backward(p, sizes, activation, h, dz, d)
        module.parameter_gradient(x, sizes, h, dz, d, g)
        found.append([h, z, d, g])
    again, z_again, dx = np.zeros_like(found[0][0]), np.empty_like(dlogits), np.empty_like(X)
    packed = np.empty(dense.packed_size(sizes, params), dtype)
    dense.pack(params, sizes, packed)
    dense.forward_rows(X, params, packed, sizes, activation, again, z_again)
    dense.input_gradient_rows(packed, sizes, activation, again, dlogits, dx)
    h, z, d, _ = found[1]
    deltas = [*dense_twin.blocks(d, sizes, n), dlogits]
    found[0] += [again, z_again, dx]
    found[1] += [h, z, deltas[0] @ dense_twin.layers(params, sizes)[0][0].T]
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, rtol=0, atol=3e-5 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("rows_of", [Rows.dense, Rows.sparse])
@pytest.mark.parametrize("batch_size", [8, 140])  # one piece, and two
@pytest.mark.parametrize("hidden", [(), (6,), (30, 150), (150, 30)])  # the last has three panels
def test_training_equals_its_twin_for_any_threads(
    rows_of: Any, hidden: tuple[int, ...], batch_size: int
) -> None:
    sizes = np.array([7, *hidden, 3])
    params = RNG.normal(size=int(((sizes[:-1] + 1) * sizes[1:]).sum())) * 0.3
    n = 150 if not UNCOMPILED or batch_size == 140 else 20
    X = RNG.random((n, 7)) * (RNG.random((n, 7)) < 0.4)
    rows, y, order = rows_of(X), RNG.integers(0, 3, n), RNG.permutation(n)
    expected, velocity = params.copy(), np.zeros_like(params)
    rates = RNG.uniform(0.02, 0.2, -(-n // batch_size))
    step = (sizes, 0, rates, 0.9, 0.05)
    total = sgd_twin.epoch(*rows, y, order, batch_size, expected, velocity, *step, 1)
    bits = set()
    for threads in (1, 2):
        set_threads(threads)
        p, v = params.copy(), np.zeros_like(params)
        ours = sgd.epoch(*rows, y, order, batch_size, p, v, *step, threads)
        np.testing.assert_allclose(p, expected, atol=1e-12)
        assert ours == pytest.approx(total, rel=1e-12)
        bits.add(p.tobytes())
    assert len(bits) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_non_zeros_are_those_of_the_matrix(dtype: type) -> None:
    X = (RNG.random((9, 11)) * (RNG.random((9, 11)) < 0.3)).astype(dtype)
    X[4] = 0
    _, values, columns, starts = rows = Rows.sparse(X)
    np.testing.assert_array_equal(starts, [0, *np.cumsum((X != 0).sum(axis=1))])
    np.testing.assert_array_equal(values, X[X != 0])
    np.testing.assert_array_equal(columns, np.nonzero(X)[1])
    some = np.array([8, 0, 4, 3])
    chosen = X[some].T
    n = np.count_nonzero(chosen)
    t_values, t_rows, t_starts = np.zeros(99, dtype), np.zeros(99, np.uint16), np.empty(12, int)
    sparse.transpose(values, columns, starts, some, t_values, t_rows, t_starts)
    np.testing.assert_array_equal(t_starts, [0, *np.cumsum((chosen != 0).sum(axis=1))])
    np.testing.assert_array_equal(t_values[:n], chosen[chosen != 0])
    np.testing.assert_array_equal(t_rows[:n], np.nonzero(chosen)[1])
    assert not t_values[n:].any()
    assert not t_rows[n:].any()
    assert sparse.longest(starts) == (X != 0).sum(axis=1).max()
    assert sparse.longest(starts[:0]) == 0
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype is np.float32 else 1e-14}
    matrix, out = RNG.normal(size=(9, 70)).astype(dtype), np.ones((9, 70), dtype)
    expected = out.copy()
    expected[:, 5:68] = X @ (X.T @ matrix[:, 5:68])
    sparse.gram_times(*rows[1:], *rows.by_columns(), matrix, 5, 68, out)
    np.testing.assert_allclose(out, expected, **tolerance)
    matrix, out = RNG.normal(size=(11, 70)).astype(dtype), np.ones((4, 70), dtype)
    sparse.times(values, columns, starts, some, matrix, out)
    np.testing.assert_allclose(out, X[some] @ matrix, **tolerance)
    buffer = sparse.aligned(3, 5, matrix.dtype)
    assert buffer.shape == (3, 5)
    assert buffer.ctypes.data % 64 == 0
    assert buffer.dtype == dtype


@kernel
def add_rows(values, rows, start, stop, matrix, out):  # type: ignore[no-untyped-def]
    _registers.add_rows(values, rows, start, stop, matrix, out)


@pytest.mark.parametrize("width", [1, 10, 16, 50, 64, 81, 150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_added_for_any_width(width: int, dtype: type) -> None:
    matrix, values = RNG.normal(size=(20, width)).astype(dtype), RNG.normal(size=9).astype(dtype)
    rows, out = RNG.integers(0, 20, 9).astype(np.uint16), RNG.normal(size=width).astype(dtype)
    expected = out + values[2:8] @ matrix[rows[2:8]]
    add_rows(values, rows, 2, 8, matrix, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6 if dtype is np.float32 else 1e-14)
    add_rows(values, rows, 5, 5, matrix, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6 if dtype is np.float32 else 1e-14)


@kernel
def add_to_rows(values, rows, start, stop, row, out):  # type: ignore[no-untyped-def]
    _registers.add_to_rows(values, rows, start, stop, row, out)


@pytest.mark.parametrize("width", [1, 10, 16, 50, 64, 81, 150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_is_added_to_rows_of_any_width(width: int, dtype: type) -> None:
    out, values = RNG.normal(size=(20, width)).astype(dtype), RNG.normal(size=9).astype(dtype)
    rows, row = RNG.integers(0, 20, 9).astype(np.uint16), RNG.normal(size=width).astype(dtype)
    expected = out.copy()
    np.add.at(expected, rows[2:8], values[2:8, np.newaxis] * row)
    add_to_rows(values, rows, 2, 8, row, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6 if dtype is np.float32 else 1e-14)
    add_to_rows(values, rows, 5, 5, row, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6 if dtype is np.float32 else 1e-14)


@pytest.mark.parametrize(("kind", "other"), [(np.int64, np.int64), (np.float32, np.float64)])
def test_rows_are_added_of_whole_numbers_and_of_two_types(kind: type, other: type) -> None:
    matrix, values = np.arange(60).reshape(3, 20).astype(other), np.array([3, -2, 5], kind)
    rows = np.array([2, 0, 2])
    one, row, many = np.zeros(20, other), matrix[1], np.zeros((3, 20), other)
    add_rows(values, rows, 0, 3, matrix, one)
    np.testing.assert_array_equal(one, 8 * matrix[2] - 2 * matrix[0])
    add_to_rows(values, rows, 0, 3, row, many)
    np.testing.assert_array_equal(many, np.array([-2, 0, 8])[:, None] * row)


@kernel
def exponential_of(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = exponential.exp(x[i])


def test_the_exponential_is_right_to_two_units_in_the_last_place() -> None:
    n = 3000 if UNCOMPILED else 300_000
    x = np.concatenate([np.linspace(-87.3, 88.3, n), RNG.normal(size=n), [0.0]]).astype(np.float32)
    out = np.empty_like(x)
    exponential_of(x, out)
    expected = np.exp(x.astype(np.float64))
    assert np.max(np.abs(out - expected) / np.spacing(expected.astype(np.float32))) <= 2
    beyond = np.array([-np.inf, -1e4, 1e4, np.inf, np.nan], np.float32)
    with np.errstate(invalid="ignore"):
        exponential_of(beyond, out[:5])
    assert 0 < out[0] == out[1] < 1e-37
    assert 1e38 < out[2] == out[3] < np.inf
    assert np.isnan(out[4])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbors_equal_their_twin(dtype: type) -> None:
    n = 50 if UNCOMPILED else 1300  # two tiles of points and more, one of them not full
    points = RNG.integers(0, 4, (n, 5)).astype(dtype)  # whole numbers: exact, and full of ties
    lengths = (points**2).sum(axis=1, keepdims=True)
    queries = np.hstack([-2 * points, np.ones_like(lengths)])
    columns = np.ascontiguousarray(np.hstack([points, lengths]).T)
    numbers, late = np.arange(n), RNG.random(n) < 0.1  # some of them come when lists are full
    own = np.where(RNG.random(n) < 0.1, -1, numbers)
    found = []
    for module in (neighbors, neighbors_twin):
        index, distance = np.full((n, 6), n), np.full((n, 6), np.inf, dtype)
        for part in (~late, late):
            some = np.ascontiguousarray(columns[:, part])
            packed = np.empty(product.packed_size(*some.shape, some), dtype)
            product.pack(some, packed)
            given = packed if module is neighbors else some
            module.nearest(queries, own, given, numbers[part], 3, n - 2, index, distance)
        found.append((index, distance))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, twin)
    gaps = queries.astype(float) @ columns
    gaps[np.arange(n), own] = np.where(own < 0, gaps[np.arange(n), own], np.inf)
    np.testing.assert_array_equal(index[3:-2], np.argsort(gaps, axis=1, kind="stable")[3:-2, :6])


def test_losses_equal_their_twins_and_survive_large_logits() -> None:
    logits = RNG.normal(size=(30, 4)) * 10
    logits[0] = [1e4, -1e4, 0, 5]
    labels, targets = RNG.integers(0, 4, 30), RNG.integers(-1, 4, 30)
    targets[targets == labels] = -1
    found = []
    for module in (loss, loss_twin):
        losses, d, margins, rivals = (
            np.empty(30),
            np.empty((30, 4)),
            np.empty(30),
            np.empty(30, int),
        )
        module.cross_entropy(logits, labels, losses, d)
        module.margin(logits, labels, targets, margins, rivals)
        found.append((losses, d, margins, rivals))
    for ours, twin in zip(*found, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, twin, rtol=1e-12, atol=1e-12)


def test_random_numbers_are_those_of_their_twin_in_any_order() -> None:
    ids = np.array([0, 5, 2**63 + 11], np.uint64)
    for name, bounds in (("uniform", (-1.0, 2.0)), ("normal", ())):
        ours, twin, turned = (np.empty((3, 7), np.float64) for _ in range(3))
        key, draw = np.uint64(2**64 - 3), np.uint64(4)
        getattr(random, name)(key, ids, draw, *bounds, ours)
        getattr(random_twin, name)(int(key), ids, int(draw), *bounds, twin)
        np.testing.assert_allclose(ours, twin, rtol=1e-14)
        getattr(random, name)(key, np.ascontiguousarray(ids[::-1]), draw, *bounds, turned)
        np.testing.assert_array_equal(turned[::-1], ours)


def test_random_numbers_look_random() -> None:
    out = np.empty((40, 500))
    random.uniform(np.uint64(1), np.arange(40, dtype=np.uint64), np.uint64(0), 0.0, 1.0, out)
    assert abs(out.mean() - 0.5) < 4 / np.sqrt(12 * out.size)
    assert abs(np.corrcoef(out[0], out[1])[0, 1]) < 0.2
    random.normal(np.uint64(1), np.arange(40, dtype=np.uint64), np.uint64(0), out)
    assert abs(out.mean()) < 4 / np.sqrt(out.size)
    assert abs(out.std() - 1) < 0.03
