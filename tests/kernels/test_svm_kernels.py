"""The SVM kernels against their twins."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import clouds
from twins import svm_dual as svm_twin
from twins import svm_poison as poison_twin

from fastadv.kernels.svm import dual, poison
from fastadv.models.svm_objective import in_blocks

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("C", [1e-3, 0.3, 10.0])
def test_solve_equals_its_twin(gamma: float, C: float) -> None:
    x, y = clouds(RNG, 25)
    K, found = poison_twin.kernel(x, x, gamma), []
    for module in (dual, svm_twin):
        a, g = np.zeros(25), np.empty(25)
        b, violation, _ = module.solve(K, y, C, 1e-10, 1000, a, g)
        assert violation <= 1e-10
        np.testing.assert_allclose(g, K @ a - y, atol=1e-12)
        found.append((g, np.array(b), np.array(a @ K @ a / 2 - y @ a), np.array(a.sum())))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_solve_from_any_feasible_start_ends_in_the_same_place(gamma: float) -> None:
    x, y = clouds(RNG, 25)
    K = poison_twin.kernel(x, x, gamma)
    biases = []
    for share in (0.0, 0.4, 1.0):
        a, g = np.zeros(25), np.empty(25)
        pairs = min((y > 0).sum(), (y < 0).sum())
        a[np.flatnonzero(y > 0)[:pairs]] = share * 2.0
        a[np.flatnonzero(y < 0)[:pairs]] = -share * 2.0
        b, _, _ = dual.solve(K, y, 2.0, 1e-10, 1000, a, g)
        biases.append((b, *g))
    np.testing.assert_allclose(biases, np.tile(biases[0], (3, 1)), atol=1e-9)


def test_solve_stops_at_its_last_round_and_says_what_is_left() -> None:
    x, y = clouds(RNG, 25)
    a, g = np.zeros(25), np.empty(25)
    _, violation, rounds = dual.solve(x @ x.T, y, 10.0, 1e-10, 1, a, g)
    assert rounds == 1
    assert violation == pytest.approx(svm_twin.worst_pair(y, 10.0, a, (x @ x.T) @ a - y)[2])
    assert violation > 1e-10


@pytest.mark.parametrize("off", [0.0, 1.0])
def test_a_row_that_is_free_by_rounding_alone_is_put_on_its_bound(off: float) -> None:
    x, _ = clouds(RNG, 4)
    y, C = np.array([1.0, -1, 1, -1]), 0.3
    a = C * np.array([1 - off, -1, off, 0])
    a[2] += 1e-16 if off == 0 else -1e-16
    g = x @ (x.T @ a) - y
    assert not dual.newton_step(x @ x.T, y, C, a, g)
    np.testing.assert_array_equal(a, C * np.array([1 - off, -1, off, 0]))


def test_the_margin_set_ends_up_independent() -> None:
    """Of equal rows at most one is left free: so the derivative of the solution exists."""
    x, y = clouds(RNG, 8)
    x, y = np.repeat(x, 3, axis=0), np.repeat(y, 3)
    for gamma in (0.0, 0.7):
        K = poison_twin.kernel(x, x, gamma)
        a, g = np.zeros(24), np.empty(24)
        dual.solve(K, y, 0.3, 1e-10, 1000, a, g)
        rows = dual.free_rows(y, 0.3, a)
        assert len(rows) > 1
        assert dual.reduced_factor(K, rows)[1] == len(rows) - 1
        assert len(np.unique(x[rows], axis=0)) == len(rows)


@pytest.mark.parametrize("m", [1, 4, 9])
def test_the_factor_is_that_of_the_reduced_kernel(m: int) -> None:
    x, _ = clouds(RNG, m + 3, d=12)
    K, rows = x @ x.T, np.arange(2, m + 3)
    U, rank = dual.reduced_factor(K, rows)
    assert rank == m
    centred = x[rows[1:]] - x[rows[0]]
    np.testing.assert_allclose(np.triu(U), np.linalg.cholesky(centred @ centred.T).T, atol=1e-12)
    for r in {0, m // 2, m - 1} - {0 if m == 1 else -1}:
        smaller, kept = U.copy(), np.delete(np.arange(m), r)
        dual.remove_row(smaller, m, r)
        smaller = np.triu(smaller[: m - 1, : m - 1])
        reduced = (centred @ centred.T)[np.ix_(kept, kept)]
        np.testing.assert_allclose(smaller.T @ smaller, reduced, atol=1e-12)
    right = RNG.normal(size=m)
    z = right.copy()
    dual.solve_transposed(U, m, z)
    dual.solve_upper(U, m, z)
    np.testing.assert_allclose(centred @ centred.T @ z, right, atol=1e-9)


def test_decisions_and_their_gradient_equal_their_twins() -> None:
    x, support, coef = RNG.normal(size=(7, 5)), RNG.normal(size=(4, 5)), RNG.normal(size=4)
    x[RNG.random(x.shape) < 0.3] = 0
    scale, squares, found = RNG.normal(size=7), (support**2).sum(axis=1), []
    for module in (dual, svm_twin):
        linear, f, K, dx = np.empty(7), np.empty(7), np.empty((7, 4)), np.empty_like(x)
        module.linear_decision(x, support[0], 0.3, linear)
        columns = np.ascontiguousarray(support.T)
        module.rbf_decision(x, columns, squares, coef, 0.3, 0.7, K, f)
        module.rbf_input_gradient(x, support, coef, 0.7, K, scale, dx)
        found.append((linear, f, K, dx))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("C", [1e-3, 0.3, 10.0])
@pytest.mark.parametrize("p", [1, 3])
def test_poison_gradient_equals_its_twin(gamma: float, C: float, p: int) -> None:
    n, m, d = 14, 20, 5
    x, y = clouds(RNG, n + p, d)
    val, y_val = clouds(RNG, m, d)
    clean, held_out = in_blocks(x[:n]), in_blocks(val)
    path = [x[n:], x[n:] + 0.1, x[n:] + np.eye(p, d)]
    found = []
    for module in (poison, poison_twin):
        K, K_val, squares = np.empty((n + p, n + p)), np.empty((n + p, m)), np.empty(n + m)
        module.fill_kernel(clean, held_out, 8, gamma, squares, K, K_val)
        data = clean, held_out, squares, y, y_val, gamma, C, 1e-10, 1000
        state = [np.full((p, 8), [np.nan] * d + [0] * 3), K, K_val]
        state += [np.zeros(n + p + 1, np.int64), np.empty((n + p + 1, n + p + 1))]
        state += [np.zeros(n + p) for _ in range(3)] + [np.zeros(m), np.zeros(m), np.zeros(8)]
        for points in path:
            out = np.empty((p, d))
            loss, violation, _ = module.poison_gradient(*data, points, *state, out)
            assert violation <= 1e-10
            found.append((np.array(loss), out, *(part.copy() for part in state[: 2 + (gamma > 0)])))
        nowhere = np.full((p, d), np.inf)
        assert np.isnan(module.poison_gradient(*data, nowhere, *state, out)[0])
    half = len(path)
    for step_ours, step_twin in zip(found[:half], found[half:], strict=True):
        for ours, twin in zip(step_ours, step_twin, strict=True):
            np.testing.assert_allclose(ours, twin, atol=1e-7)


def test_rounding_makes_no_two_rows_more_alike_than_equal() -> None:
    """|x|^2 + |z|^2 - 2 x'z of all but equal rows may round below 0: a large gamma would show it."""
    x, gamma = np.random.default_rng(6).normal(size=(30, 20)), 1e16
    near = x * (1 + 2e-16 * np.random.default_rng(7).integers(-1, 2, x.shape))
    clean, val, points = (
        in_blocks(np.vstack([x, near])),
        in_blocks(near),
        np.vstack([x[:10], near[:10]]),
    )
    K, K_val, squares = np.zeros((80, 80)), np.zeros((80, 30)), np.empty(90)
    poison.fill_kernel(clean, val, 20, gamma, squares, K, K_val)
    for c in range(20):
        poison.update_kernel(clean, val, squares, points, c, gamma, K, K_val)
    K_new, out, squares = np.empty((30, 30)), np.empty(30), (near**2).sum(axis=1)
    dual.rbf_decision(x, np.ascontiguousarray(near.T), squares, np.ones(30), 0.0, gamma, K_new, out)
    for found in (K, K_val, K_new):
        assert 0.9 < found.max() <= 1.0
