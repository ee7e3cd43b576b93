"""The SVM trained again, and the inverse of its margin's conditions, against their twins."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import clouds
from twins import svm_dual as svm_twin
from twins import svm_poison as poison_twin
from twins import svm_retrain as twin

from fastadv.kernels.svm import dual, retrain

RNG = np.random.default_rng(0)


def no_margin(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(n + 1, np.int64), np.full((n + 1, n + 1), np.nan)


def assert_inverse(K: np.ndarray, margin: np.ndarray, inverse: np.ndarray, atol: float) -> None:
    k = margin[0] + 1
    identity = inverse[:k, :k] @ twin.conditions(K, margin[1:k])
    np.testing.assert_allclose(identity, np.eye(k), atol=atol)


def test_rows_come_and_go_as_in_the_twin() -> None:
    x, _ = clouds(RNG, 9, d=12)
    K = x @ x.T
    states = [no_margin(9), no_margin(9)]
    for action in (4, 2, 7, 0, -2, 8, -4, -1, 3, -3, -1, -1, 5):  # a row; or minus a place
        for module, (margin, inverse) in zip((retrain, twin), states, strict=True):
            if action < 0:
                module.remove(-action, margin, inverse)
            else:
                assert module.append(K, action, margin, inverse)
        (margin, inverse), (expected, _) = states
        k = margin[0] + 1
        np.testing.assert_array_equal(margin[:k], expected[:k])
        if k > 1:
            np.testing.assert_allclose(inverse[:k, :k], states[1][1][:k, :k], atol=1e-12)
            right, found = RNG.normal(size=k), np.empty((2, k))
            retrain.times(inverse, right, found[0])
            twin.times(inverse, right, found[1])
            np.testing.assert_allclose(*found, atol=1e-12)


def test_rounding_adds_up_slowly() -> None:
    """After hundreds of rows that came and went."""
    x, _ = clouds(RNG, 30, d=40)
    K, (margin, inverse) = x @ x.T, no_margin(30)
    for r in range(20):
        retrain.append(K, r, margin, inverse)
    for _ in range(500):
        retrain.remove(RNG.integers(1, margin[0] + 1), margin, inverse)
        outside = np.setdiff1d(np.arange(30), margin[1 : margin[0] + 1])
        assert retrain.append(K, RNG.choice(outside), margin, inverse)
    assert_inverse(K, margin, inverse, 1e-10)


def test_a_row_that_depends_on_the_others_is_left_out() -> None:
    x, _ = clouds(RNG, 6)
    x[3], x[4], x[5] = x[0], x[:2].mean(axis=0), 2 * x[1] - x[0]
    for module in (retrain, twin):
        margin, inverse = no_margin(6)
        whole = module.match(x @ x.T, np.ones(6), 1.0, np.full(6, 0.5), margin, inverse)
        assert not whole
        np.testing.assert_array_equal(margin[:4], [3, 0, 1, 2])
        assert_inverse(x @ x.T, margin, inverse, 1e-10)


def test_the_margin_follows_the_multipliers() -> None:
    x, y = clouds(RNG, 12, d=20)
    K, (margin, inverse) = x @ x.T, no_margin(12)
    for _ in range(20):
        a = y * RNG.choice([0.0, 0.3, 0.7, 1.0], 12)
        assert retrain.match(K, y, 1.0, a, margin, inverse)
        np.testing.assert_array_equal(np.sort(margin[1 : margin[0] + 1]), dual.free_rows(y, 1.0, a))
        if margin[0] > 0:
            assert_inverse(K, margin, inverse, 1e-10)


def test_the_conditions_are_met_as_in_the_twin_and_a_second_move_takes_off_the_rounding() -> None:
    x, y = clouds(RNG, 12, d=20)
    K, (margin, inverse) = x @ x.T, no_margin(12)
    for r in (3, 8, 1, 10):
        retrain.append(K, r, margin, inverse)
    start = RNG.normal(size=12)
    a, expected = start.copy(), start.copy()
    g, expected_g = K @ a - y, K @ a - y
    bias = twin.meet(K, margin, inverse, 0.4, expected, expected_g)
    inverse[:5, :5] *= 1 + 1e-9
    for tolerance in (1e-6, 1e-13):
        found = retrain.meet(K, margin, inverse, 0.4, a, g)
        assert found == pytest.approx(bias, abs=tolerance)
        np.testing.assert_allclose(a, expected, atol=tolerance)
        np.testing.assert_allclose(g, expected_g, atol=100 * tolerance)
    assert a.sum() == pytest.approx(0.4, abs=1e-15)
    np.testing.assert_array_equal(np.delete(a, margin[1:5]), np.delete(start, margin[1:5]))


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("C", [0.3, 10.0])
def test_solving_again_ends_where_solving_anew_does(gamma: float, C: float) -> None:
    """From the solution for another place of one row, and from one that is no guess at all."""
    x, y = clouds(RNG, 25)
    K, exchanged = poison_twin.kernel(x, x, gamma), 0
    a, g, (margin, inverse) = np.zeros(25), np.empty(25), no_margin(25)
    retrain.solve_again(K, y, C, 1e-10, 1000, margin, inverse, a, g)
    for shift in (0.01, 0.3, 3.0, 0.01):
        x[3] += shift * RNG.normal(size=3)
        K, anew = poison_twin.kernel(x, x, gamma), np.zeros(25)
        b, _, _ = svm_twin.solve(K, y, C, 1e-10, 1000, anew, np.empty(25))
        retrain.forget(3, margin, inverse)
        bias, violation, rounds = retrain.solve_again(K, y, C, 1e-10, 1000, margin, inverse, a, g)
        assert violation <= 1e-10
        exchanged += rounds == 0
        np.testing.assert_allclose(g, K @ a - y, atol=1e-12)
        np.testing.assert_allclose(g + bias, K @ anew - y + b, atol=1e-8)
        assert a.sum() == pytest.approx(0, abs=1e-12)
        assert np.all((a * y >= 0) & (a * y <= C))
        np.testing.assert_array_equal(np.sort(margin[1 : margin[0] + 1]), dual.free_rows(y, C, a))
        assert_inverse(K, margin, inverse, 1e-9)
    assert exchanged > 0


def test_an_inverse_that_rounding_has_spoilt_is_made_anew() -> None:
    x, y = clouds(RNG, 25)
    K, a, g, (margin, inverse) = x @ x.T, np.zeros(25), np.empty(25), no_margin(25)
    retrain.solve_again(K, y, 1.0, 1e-10, 1000, margin, inverse, a, g)
    inverse *= 1 + 1e-2
    _, violation, _ = retrain.solve_again(K, y, 1.0, 1e-10, 1000, margin, inverse, a, g)
    assert violation <= 1e-10
    assert margin[0] > 1
    assert_inverse(K, margin, inverse, 1e-9)


def test_an_exchange_that_does_not_end_leaves_the_solution_alone() -> None:
    x, y = clouds(RNG, 12)
    x[6:], y[6:] = x[:6], y[:6]  # free rows that depend on one another: no one solution
    start = np.where(y > 0, 1.0, -1.0) * 0.1
    start[y > 0] *= (y < 0).sum() / (y > 0).sum()
    a, g, (margin, inverse) = start.copy(), np.empty(12), no_margin(12)
    assert not retrain.exchange_sets(x @ x.T, y, 10.0, 1e-10, margin, inverse, a, g)
    np.testing.assert_array_equal(a, start)
