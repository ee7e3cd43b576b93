"""Noise behind the first product: against its twin, its distribution, and central differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import UNCOMPILED
from scipy import stats
from twins import random as random_twin
from twins import smooth as twin

from fastadv.kernels import random
from fastadv.kernels.network import dense, smooth

SHAPES = [(6, 3), (6, 5, 3), (6, 5, 4, 3)]


def problem(shape: tuple[int, ...], dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = np.array(shape)
    params = rng.normal(size=((sizes[:-1] + 1) * sizes[1:]).sum()).astype(dtype)
    return rng.normal(size=(4, shape[1])).astype(dtype), params, sizes


@pytest.mark.parametrize("columns", [1, 6, 7])
def test_fast_normals_equal_their_twin(columns: int) -> None:
    found, expected = np.empty((3, columns)), np.empty((3, columns))
    ids = np.array([0, 5, 2**64 - 1], dtype=np.uint64)
    random.gauss(np.uint64(9), ids, np.uint64(4), found)
    random_twin.gauss(9, ids, 4, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    for u in (0.5 * 2.0**-32, 1e-3, 0.49999, 0.70710678, 0.99999, 1.0):
        assert random.log_unit(u) == pytest.approx(random_twin.log_unit(u), abs=2e-13)


def test_fast_normals_are_normal() -> None:
    n = 100 if UNCOMPILED else 4000
    out = np.empty((n, 33))
    random.gauss(np.uint64(1), np.arange(n, dtype=np.uint64), np.uint64(0), out)
    assert stats.kstest(out.ravel(), "norm").pvalue > 0.01
    assert stats.kstest(out.sum(axis=1) / np.sqrt(33), "norm").pvalue > 0.01
    correlations = np.corrcoef(out.T)[np.triu_indices(33, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", [dense.LOGISTIC, dense.TANH, dense.RELU])
def test_kernels_equal_their_twins(shape: tuple[int, ...], activation: int) -> None:
    sums, params, sizes = problem(shape, np.float64)
    rng = np.random.default_rng(1)
    factor, noise = rng.normal(size=(4, shape[1])), rng.normal(size=(9, shape[1]))
    counts, expected_counts = np.zeros(3, np.int64), np.zeros(3, np.int64)
    smooth.votes(
        sums[0], factor, params, sizes, activation, np.uint64(3), np.uint64(8), 5, 70, counts
    )
    twin.votes(sums[0], factor, params, sizes, activation, 3, 8, 5, 70, expected_counts)
    np.testing.assert_array_equal(counts, expected_counts)
    assert counts.sum() == 70
    dmean = rng.normal(size=(4, 3))
    found = []
    for module in (smooth, twin):
        hidden = np.empty(4 * 9 * int(sizes[1:-1].sum()))
        shares, mean, winners = np.empty((4, 9, 3)), np.empty((4, 3)), np.empty(4, np.int64)
        module.expected(sums, noise, params, sizes, activation, hidden, shares, mean, winners)
        dsums = np.empty_like(sums)
        module.expected_gradient(params, sizes, activation, hidden, shares, dmean, dsums)
        found.append((mean, winners, dsums))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_central_differences(shape: tuple[int, ...]) -> None:
    sums, params, sizes = problem(shape, np.float64)
    noise = np.random.default_rng(1).normal(size=(9, shape[1]))
    dmean = np.random.default_rng(2).normal(size=(4, 3))
    hidden = np.empty(4 * 9 * int(sizes[1:-1].sum()))
    shares, mean, winners = np.empty((4, 9, 3)), np.empty((4, 3)), np.empty(4, np.int64)

    def loss(sums: np.ndarray) -> float:
        smooth.expected(sums, noise, params, sizes, dense.TANH, hidden, shares, mean, winners)
        return float((mean * dmean).sum())

    loss(sums)
    dsums, numeric = np.empty_like(sums), np.empty_like(sums)
    smooth.expected_gradient(params, sizes, dense.TANH, hidden, shares, dmean, dsums)
    for k in np.ndindex(sums.shape):
        up, down = sums.copy(), sums.copy()
        up[k] += 1e-6
        down[k] -= 1e-6
        numeric[k] = (loss(up) - loss(down)) / 2e-6
    np.testing.assert_allclose(dsums, numeric, atol=1e-6 * np.abs(numeric).max())
