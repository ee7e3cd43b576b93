"""What counts as within a budget."""

from __future__ import annotations

import numpy as np
import pytest

from fastadv import threat


@pytest.mark.parametrize("eps", [0.1, 0.01, 5e-4, 1e-5])
def test_a_step_of_the_whole_budget_is_within_it_also_when_it_is_small(eps: float) -> None:
    x = np.random.default_rng(0).random(10_000, dtype=np.float32) * np.float32(1 - eps)
    distances = np.abs((x + np.float32(eps)).astype(np.float64) - x)
    assert distances.max() > eps
    assert distances.max() <= threat.linf(eps).reach <= eps * (1 + 2e-5) + 1e-7


def test_no_budget_reaches_nothing_and_points_are_counted_exactly() -> None:
    assert threat.linf(0).reach == threat.l2(0).reach == 0
    assert threat.poison(0.1, 7).reach == 7


def test_a_turn_and_a_shift_to_their_limits_are_within_them() -> None:
    shares = {"spatial": np.array([0.0, 0.6, 1.0, 1.001])}
    within = threat.rotation_translation(30, 3).within(shares, 4)
    np.testing.assert_array_equal(within, [True, True, True, False])
