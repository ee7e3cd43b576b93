"""Figures of a row against what they are defined by."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastadv.metrics import holm, mcnemar_exact, wilson_interval


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_is_that_of_scipy(right: int, more: int) -> None:
    n = right + more
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(lost: int, won: int) -> None:
    expected = 1.0 if lost + won == 0 else stats.binomtest(lost, lost + won).pvalue
    assert mcnemar_exact(lost, won) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(lost, won) == mcnemar_exact(won, lost)


def test_mcnemar_by_counting_every_outcome() -> None:
    """Of 7 images, which go either way at random, as uneven a split as 1 to 6."""
    outcomes = [sum(signs) for signs in itertools.product((0, 1), repeat=7)]
    as_uneven = [won for won in outcomes if abs(won - 3.5) >= 2.5]
    assert mcnemar_exact(6, 1) == len(as_uneven) / len(outcomes)


def test_mcnemar_of_very_many_images() -> None:
    assert mcnemar_exact(30_000, 40_000) < 1e-300
    assert mcnemar_exact(10_000, 10_000) == 1.0


def test_holm_by_hand() -> None:
    # sorted 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to the one before), 0.9
    assert holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([]) == []
    assert holm([0.7, 0.8]) == [1.0, 1.0]


def test_holm_seldom_raises_a_false_alarm() -> None:
    rng = np.random.default_rng(0)
    alarms = [min(holm(list(rng.random(20)))) <= 0.05 for _ in range(2000)]
    assert np.mean(alarms) < 0.07
    assert np.mean([rng.random(20).min() <= 0.05 for _ in range(2000)]) > 0.5
