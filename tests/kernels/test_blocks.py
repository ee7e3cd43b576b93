"""Rows by their blocks against the matrix that they are of."""

from __future__ import annotations

import numpy as np
import pytest

from fastadv.kernels.linalg import blocks


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("d", [3, 8, 29])
def test_rows_by_their_blocks_are_the_matrix(d: int, kind: type) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, d)).astype(kind)
    X[rng.random(X.shape) < 0.7] = 0
    X[2], X[4, 0] = 0, 0.5
    width = d + -d % 4
    whole = np.pad(X, ((0, 0), (0, -d % 4)))
    parts = whole.reshape(7, -1, 4)
    i, b = np.nonzero(parts.any(axis=2))
    values, columns = np.full((7 * width // 4, 4), np.nan, kind), np.empty(7 * width // 4, "u4")
    starts = np.empty(8, np.int64)
    used = blocks.compress(X, values, columns, starts)
    rows = values[:used], columns[:used], starts
    for found, expected in zip(
        rows, (parts[i, b], 4 * b, np.searchsorted(i, range(8))), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    x, start = rng.normal(size=(2, width))
    products, squares, total = np.empty(7), np.empty(7), start.copy()
    blocks.squares(rows, squares)
    np.testing.assert_allclose(squares, np.square(X, dtype=np.float64).sum(axis=1), atol=1e-12)
    blocks.products(rows, x, products)
    np.testing.assert_allclose(products, whole @ x, atol=1e-12)
    assert blocks.product(rows, 3, x) == pytest.approx(whole[3] @ x, abs=1e-12)
    blocks.add(np.float64(0.3), rows, 4, total)  # plain Python would round a float to float32
    np.testing.assert_allclose(total, start + 0.3 * whole[4].astype(np.float64), atol=1e-12)
    zeros = np.zeros(width)
    blocks.add(0.3, rows, 4, zeros)
    assert zeros.any()
    blocks.add(-0.3, rows, 4, zeros)
    assert not zeros.any()
