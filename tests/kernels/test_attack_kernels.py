"""Kernels and losses of the attacks: against their twins, and gradients against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import boundary as boundary_twin
from twins import loss as loss_twin
from twins import square as square_twin
from twins import tanh_space as tanh_twin

from fastadv.attacks.evasion.loss import cross_entropy_ascent, dlr_ascent, hinge, margins
from fastadv.errors import InputError
from fastadv.kernels.images import boundary, square, tanh_space
from fastadv.kernels.network import loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(30, 5)) * 3
LABELS = RNG.integers(0, 5, 30)
TARGETS = (LABELS + RNG.integers(1, 5, 30)) % 5


@pytest.mark.parametrize("targeted", [False, True])
def test_dlr_equals_its_twin(targeted: bool) -> None:
    logits = LOGITS.copy()
    logits[0], logits[1] = 2.0, [4, 4, 4, 1, 1]  # ties: the ratio has no direction there
    targets = TARGETS if targeted else np.full(30, -1)
    found = []
    for module in (loss, loss_twin):
        losses, d = np.empty(30), np.empty((30, 5))
        module.dlr(logits, LABELS, targets, losses, d)
        found.append((losses, d))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-12, atol=1e-12)
    assert np.all(found[0][1][0] == 0)


def test_dlr_is_the_same_at_any_scale_and_positive_where_it_succeeds() -> None:
    losses, d = dlr_ascent(LOGITS, LABELS, None)
    for factor in (1e-3, 1e3):
        scaled, d_scaled = dlr_ascent(LOGITS * factor, LABELS, None)
        np.testing.assert_allclose(scaled, losses, rtol=1e-9)
        np.testing.assert_allclose(d_scaled * factor, d, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(losses > 0, LOGITS.argmax(axis=1) != LABELS)
    assert np.all((losses >= -1) & (losses <= 1 + np.abs(LOGITS).max()))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1, 5, 10, 1e3, 1e6, 1e30])
def test_ascent_equals_its_twin_and_has_a_slope_for_any_row(factor: float, kind: Any) -> None:
    logits = (LOGITS * factor).astype(kind)
    found = []
    for module in (loss, loss_twin):
        losses, d = np.empty(30), np.empty((30, 5), kind)
        module.ascent(logits, LABELS, losses, d)
        found.append((losses, d))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(
            ours,
            twin,
            rtol=1e-5 if kind == np.float32 else 1e-9,
            atol=1e-6 if kind == np.float32 else 1e-12,
        )
    assert np.all(found[0][1][np.arange(30), LABELS] < 0)


def test_rows_that_are_not_very_sure_keep_their_cross_entropy_to_the_bit() -> None:
    logits = LOGITS.astype(np.float32)
    usual, ours = ((np.empty(30), np.empty((30, 5), np.float32)) for _ in range(2))
    loss.cross_entropy(logits, LABELS, *usual)
    loss.ascent(logits, LABELS, *ours)
    for a, b in zip(usual, ours, strict=True):
        assert a.tobytes() == b.tobytes()


def test_losses_of_one_image_keep_their_order_however_sure() -> None:
    odds = np.concatenate([np.linspace(-1e7, 1e7, 401), np.linspace(-60, 60, 401)])
    for spread in (1.0, 39.0, 200.0):  # of the others: rows of either kind side by side
        logits = np.stack([-odds, np.zeros_like(odds), np.full_like(odds, -spread)], axis=1)
        losses = cross_entropy_ascent(logits, np.zeros(len(odds), np.int64), None)[0]
        assert np.all(np.diff(losses[np.argsort(odds)]) >= 0)
        sure = np.abs(odds) > 1e3
        assert len(np.unique(losses[sure])) == np.count_nonzero(sure)


def test_the_slope_of_a_sure_row_is_that_of_the_logarithm_of_its_odds() -> None:
    logits = LOGITS.copy()
    logits[np.arange(30), LABELS] = logits.max(axis=1) + 18

    def log_odds(logits: np.ndarray) -> np.ndarray:
        others = np.where(np.eye(5, dtype=bool)[LABELS], -np.inf, logits)
        return np.log(np.exp(others).sum(axis=1)) - logits[np.arange(30), LABELS]

    d = cross_entropy_ascent(logits, LABELS, None)[1]
    for column in range(5):
        step = np.zeros(5)
        step[column] = 1e-6
        slope = (log_odds(logits + step) - log_odds(logits - step)) / 2e-6
        np.testing.assert_allclose(d[:, column], slope, atol=1e-8)


def test_logits_that_are_logarithms_of_nothing() -> None:
    logits = np.array([[0.0, -50.0, -np.inf], [-np.inf, 0.0, -90.0]], dtype=np.float32)
    losses, d = cross_entropy_ascent(logits, np.zeros(2, np.int64), None)
    np.testing.assert_allclose(losses, [-50, np.inf])
    np.testing.assert_allclose(d, [[-1, 1, 0], [-1, 1, 0]], atol=1e-8)


def test_dlr_needs_classes_to_compare() -> None:
    with pytest.raises(InputError, match="compares 3 logits and the model has 2; use loss=ce"):
        dlr_ascent(LOGITS[:, :2], LABELS % 2, None)
    with pytest.raises(InputError, match="compares 4 logits and the model has 3; use loss=ce"):
        dlr_ascent(LOGITS[:, :3], LABELS % 3, (LABELS + 1) % 3)


@pytest.mark.parametrize("name", ["ce", "dlr", "hinge"])
@pytest.mark.parametrize("target", [None, TARGETS])
def test_gradients_are_central_differences(name: str, target: np.ndarray | None) -> None:
    def value(logits: np.ndarray) -> np.ndarray:
        if name == "hinge":
            return np.maximum(margins(logits, LABELS, target)[0], -1.5)
        return (cross_entropy_ascent if name == "ce" else dlr_ascent)(logits, LABELS, target)[0]

    if name == "hinge":
        success, gradient = hinge(LOGITS, LABELS, target, 1.5)
        np.testing.assert_array_equal(success, margins(LOGITS, LABELS, target)[0] <= -1.5)
        assert success.any()
        assert not success.all()
    else:
        ascent = cross_entropy_ascent if name == "ce" else dlr_ascent
        gradient = ascent(LOGITS, LABELS, target)[1]
    numeric = np.empty_like(LOGITS)
    for j in range(5):
        step = 1e-6 * np.eye(5)[j]
        numeric[:, j] = (value(LOGITS + step) - value(LOGITS - step)) / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-7)


def test_a_tie_is_no_success() -> None:
    logits = np.array([[1.0, 1.0, 0.0]])
    success, gradient = hinge(logits, np.array([1]), None, 0.0)
    assert not success[0]
    np.testing.assert_array_equal(gradient, [[-1.0, 1.0, 0.0]])


@pytest.mark.parametrize("norm", [boundary.LINF, boundary.L2])
def test_boundary_steps_equal_their_twins_and_arrive(norm: int) -> None:
    w = RNG.normal(size=(8, 12))
    w[2], w[3, :5] = 0, 0
    lengths, found = RNG.random(8), []
    for module in (boundary, boundary_twin):
        duals, change = np.empty(8), np.zeros_like(w)
        module.dual_norms(w, norm, duals)
        module.add_step(w, lengths, duals, norm, change)
        found.append((duals, change))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, atol=1e-12)
    duals, change = found[0]
    np.testing.assert_allclose((w * change).sum(axis=1), lengths * duals, atol=1e-12)
    size = np.linalg.norm(change, ord=np.inf if norm == boundary.LINF else 2, axis=1)
    np.testing.assert_allclose(size, np.where(duals > 0, lengths, 0), atol=1e-12)


def test_tanh_space_equals_its_twin_and_differences() -> None:
    x, w, g = RNG.random((4, 6)), RNG.normal(size=(4, 6)), RNG.normal(size=(4, 6))

    def image(w: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(w)

    def value(w: np.ndarray) -> float:
        return float(((image(w) - x) ** 2).sum() + (g * image(w)).sum())

    ours, twin = g.copy(), g.copy()
    tanh_space.pull_to_weights(x, image(w), np.tanh(w), 0.5, ours)
    tanh_twin.pull_to_weights(x, image(w), np.tanh(w), 0.5, twin)
    np.testing.assert_allclose(ours, twin, atol=1e-14)
    for k in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[k] += 1e-6
        down[k] -= 1e-6
        assert ours[k] == pytest.approx((value(up) - value(down)) / 2e-6, abs=1e-8)
    state = [[w.copy(), np.zeros_like(w), np.zeros_like(w)] for _ in range(2)]
    for step in (1, 2, 3):
        for module, (p, mean, sq) in zip((tanh_space, tanh_twin), state, strict=True):
            module.adam_step(p, ours / step, mean, sq, step, 0.1)
    for a, b in zip(*state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 5, 1), (5, 7, 3)])
@pytest.mark.parametrize(("side", "spared"), [(1, 0), (1, 1), (3, 0), (3, 1), (4, 1), (5, 0)])
def test_square_windows_equal_their_twins(
    shape: tuple[int, int, int], side: int, spared: int
) -> None:
    n, d = 12, int(np.prod(shape))
    x, eps = RNG.random((n, d)), 0.1
    draws = RNG.random((n, 5 + shape[2])).astype(np.float32)
    draws[0, :4] = np.float32(1.0)  # what a number just below 1 rounds to
    start = np.clip(x + RNG.choice([-eps, eps], (n, d)), 0, 1)
    signs = np.ascontiguousarray(draws[:, : 2 + shape[2]])
    a, b = start.copy(), start.copy()
    for _ in range(2):  # the second time nothing would change, and the signs turn
        before = a.copy()
        square.linf_window(x, eps, 0.0, 1.0, shape, side, spared, signs, a)
        square_twin.linf_window(x, eps, 0.0, 1.0, shape, side, spared, signs, b)
        np.testing.assert_allclose(a, b, atol=1e-14)
        touched = (a != before).reshape(n, *shape).any(axis=3)
        assert touched.any(axis=(1, 2)).all()
        assert touched.sum(axis=(1, 2)).max() <= side**2
        for last in (touched[:, shape[0] - spared :], touched[:, :, shape[1] - spared :]):
            assert not last.any()
    furthest = shape[0] - spared - side, shape[1] - spared - side
    assert square.corner(draws[0], shape, side, spared) == furthest
    if side == 1:
        return  # old and new direction of a single pixel can cancel, to any rounding
    bump = RNG.normal(size=(side, side))
    bump /= np.linalg.norm(bump)
    for start in (x.copy(), x + RNG.normal(size=(n, d)) * 0.01):
        a, b = start.copy(), start.copy()
        square.l2_window(x, eps, shape, bump, spared, draws, a)
        square_twin.l2_window(x, eps, shape, bump, spared, draws, b)
        np.testing.assert_allclose(a, b, atol=1e-13)
        norms = np.linalg.norm(a - x, axis=1)
        np.testing.assert_allclose(norms, np.maximum(np.linalg.norm(start - x, axis=1), eps))
