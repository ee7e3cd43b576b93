"""Rows by their blocks against the twin."""

from __future__ import annotations

import numpy as np
import pytest

from fastadv.kernels.linalg import blocks
from fastadv.reference import blocks as twin


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("d", [3, 8, 29])
def test_rows_by_their_blocks_equal_the_twin(d: int, kind: type) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, d)).astype(kind)
    X[rng.random(X.shape) < 0.7] = 0
    X[2], X[4, 0] = 0, 0.5
    width, found = d + -d % 4, []
    x, start = rng.normal(size=(2, width))
    for module in (blocks, twin):
        values, columns = np.full((7 * width // 4, 4), np.nan, kind), np.empty(7 * width // 4, "u4")
        starts = np.empty(8, np.int64)
        used = module.compress(X, values, columns, starts)
        rows = values[:used], columns[:used], starts
        products, squares, total = np.empty(7), np.empty(7), start.copy()
        module.squares(rows, squares)
        module.products(rows, x, products)
        module.add(np.float64(0.3), rows, 4, total)  # plain Python would round a float to float32
        found.append((*rows, products, squares, np.array(module.product(rows, 3, x)), total))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_array_equal(twin.dense(rows, width)[:, :d], X)
    np.testing.assert_allclose(products, X @ x[:d], atol=1e-12)
    zeros = np.zeros(width)
    blocks.add(0.3, rows, 4, zeros)
    assert zeros.any()
    blocks.add(-0.3, rows, 4, zeros)
    assert not zeros.any()
