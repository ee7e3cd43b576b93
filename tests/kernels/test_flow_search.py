"""The search for a flow, and L-BFGS: against their twins, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from twins import flow as flow_twin
from twins import flow_search as twin
from twins import lbfgs as lbfgs_twin

from fastadv.kernels.images import flow, flow_search
from fastadv.kernels.linalg import lbfgs

SHAPES = [(5, 7, 1), (6, 4, 3), (1, 5, 1), (2, 2, 1)]


def sparse_images(shape: tuple[int, int, int], n: int, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.random((n, int(np.prod(shape))))
    x[rng.random(x.shape) < 0.6] = 0
    x[0] = 0.25
    return x.astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_marks_equal_their_twin_and_mean_what_they_say(shape: tuple[int, int, int]) -> None:
    x = sparse_images(shape, 6, np.float32)
    cells = np.empty((6, shape[0] * shape[1]), np.uint8)
    expected = np.empty_like(cells)
    flow.mark_cells(x, *shape, cells)
    flow_twin.mark_cells(x, *shape, expected)
    np.testing.assert_array_equal(cells, expected)
    assert not np.any(cells[0] & flow.SLOPE)


def test_the_better_flows_are_kept() -> None:
    f = np.random.default_rng(0).normal(size=(5, 2, 3, 4))
    found, expected = np.zeros_like(f), np.zeros_like(f)
    rows, better = np.array([4, 0, 2]), np.array([True, False, True])
    flow.keep_flows(f, rows, better, found)
    flow_twin.keep_flows(f, rows, better, expected)
    np.testing.assert_array_equal(found, expected)


def marked(x: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    cells = np.empty((len(x), shape[0] * shape[1]), np.uint8)
    flow.mark_cells(x, *shape, cells)
    return cells


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_search_equals_its_twin(shape: tuple[int, int, int], dtype: type) -> None:
    n, (height, width, channels) = 5, shape
    tolerance = 1e-3 if dtype is np.float32 else 1e-10
    rng = np.random.default_rng(1)
    x = sparse_images(shape, n, dtype)
    f = rng.uniform(-1.5, 1.5, (n, 2, height, width)).astype(dtype)
    pull, force = rng.normal(size=x.shape).astype(dtype), np.zeros((n, 3), dtype)
    dual = np.zeros((n, 4, (height + 1) * width), dtype)
    cells, rows = marked(x, shape), np.array([4, 1, 2])
    state64 = [
        f.astype(float), np.zeros((n, 4, height, width)), pull.astype(float), force.astype(float)
    ]  # fmt: skip
    for step in range(4):
        dout, excess = rng.normal(size=(3, x.shape[1])).astype(dtype), np.array([0.3, -0.2, 0.7])
        out, out64 = (np.empty((3, x.shape[1]), kind) for kind in (dtype, float))
        losses, losses64 = np.empty(3), np.empty(3)
        free, ceiling, span = ((1 / 8, np.inf, 2.0), (-1.0, 0.5, 0.0), (-1.0, np.inf, 0.7))[
            step % 3
        ]
        flow_search.advance(
            x, cells, channels, rows, dout, excess.astype(dtype), dtype(0.03), dtype(span),
            dtype(free), dtype(ceiling), dtype(0.2), dtype(0.5), 3, f, dual, pull, force, out, losses,
        )  # fmt: skip
        twin.advance(
            x.astype(float), channels, rows, dout.astype(float), excess, 0.03, span, free, ceiling,
            0.2, 0.5, 3, *state64, out64, losses64,
        )  # fmt: skip
        np.testing.assert_allclose(pull, state64[2], atol=tolerance)
        np.testing.assert_allclose(f, state64[0], atol=tolerance)
        np.testing.assert_allclose(force, state64[3], atol=tolerance, rtol=tolerance)
        np.testing.assert_allclose(out, out64, atol=tolerance)
        np.testing.assert_allclose(losses, losses64, rtol=tolerance)
        if free < 0:
            assert np.abs(f[rows].mean(axis=(2, 3))).max() <= 1e-6
    assert force.any()
    f64 = f[:3].astype(float)
    flow_search.climb(x[rows], cells[rows], channels, dout, dtype(0.1), dtype(0.4), f[:3])
    twin.climb(x[rows].astype(float), channels, dout.astype(float), 0.1, 0.4, f64)
    np.testing.assert_allclose(f[:3], f64, atol=tolerance)
    assert np.abs(f[:3]).max() <= dtype(0.4)


def slopes_of(
    x: np.ndarray, f: np.ndarray, g: np.ndarray, shape: tuple[int, int, int], span: float
) -> list[np.ndarray]:
    """Return the slope, before, after and the edges of one image, (2, H W) each."""
    pixels = shape[0] * shape[1]
    out = [np.full((2, pixels), np.nan) for _ in range(4)]
    room = (
        np.empty(pixels, np.int32), np.empty(pixels), np.empty(pixels), np.empty(pixels + 1, np.int32)
    )  # fmt: skip
    flow_search.piecewise_slopes(
        x[0], marked(x, shape)[0], f[0], shape[2], g[0], span, *room, *out[:3]
    )
    flow_search.cell_edges(f[0], out[3])
    return out


@pytest.mark.parametrize("span", [0.3, 1.0, 2.0])
def test_the_averaged_derivative_is_the_average_of_the_exact_one(span: float) -> None:
    """Over reads from half a span before to half a span behind, along each component."""
    shape = (8, 9, 1)
    x = sparse_images(shape, 1, np.float64)
    f = np.random.default_rng(3).uniform(-0.4, 0.4, (1, 2, 8, 9))
    inside = np.zeros((8, 9), dtype=bool)
    inside[2:-3, 2:-3] = True
    g = np.ones_like(x)
    slope = slopes_of(x, f, g, shape, span)[0].reshape(2, 8, 9)
    for c in range(2):
        mean = np.zeros((8, 9))
        for shift in ((np.arange(4000) + 0.5) / 4000 - 0.5) * span:
            moved, exact = f.copy(), np.empty_like(f)
            moved[:, c] += shift
            flow.warp_gradient(x, moved, 1, g, exact)
            mean += exact[0, c] / 4000
        np.testing.assert_allclose(slope[c][inside], mean[inside], atol=2e-3)


@pytest.mark.parametrize("shape", [(6, 7, 1), (5, 4, 3)])
def test_the_model_of_the_warp_is_exact_in_a_component_as_far_as_it_is_convex(
    shape: tuple[int, int, int],
) -> None:
    """Up to a pixel beyond the cell, beside the warp itself: reads at moved points."""
    height, width, channels = shape
    x, rng = sparse_images(shape, 1, np.float64), np.random.default_rng(4)
    f = rng.uniform(-1.4, 1.4, (1, 2, height, width))
    f[0, :, ::2, ::3] = np.round(f[0, :, ::2, ::3])
    g = rng.normal(size=x.shape)
    slope, before, after, edges = slopes_of(x, f, g, shape, 0.0)
    kinks = 0
    for c, i, j in np.ndindex(2, height, width):
        k = i * width + j
        low = edges[c, k]
        reads = {}
        for z in (low - 1, low - 0.5, low, low + 0.3, low + 1, low + 1.4, low + 2):
            moved, out = f.copy(), np.empty_like(x)
            moved[0, c, i, j] = z
            flow.warp(x, moved, channels, out)
            reads[z] = (g * out).reshape(height * width, channels)[k].sum()
        within = reads[low + 1] - reads[low]
        np.testing.assert_allclose(slope[c, k], within, atol=1e-12)
        for z, value in reads.items():
            said = reads[low] + slope[c, k] * (z - low)
            said += before[c, k] * min(z - low, 0) + after[c, k] * max(z - low - 1, 0)
            convex = reads[low] - reads[low - 1] <= within if z < low else True
            convex &= reads[low + 2] - reads[low + 1] >= within if z > low + 1 else True
            if convex:
                np.testing.assert_allclose(said, value, atol=1e-12)
                kinks += z < low or z > low + 1
            else:
                np.testing.assert_allclose(said, reads[low] + within * (z - low), atol=1e-12)
    assert kinks > 20


def test_primal_dual_steps_find_the_least_flow_of_a_model_with_kinks() -> None:
    """Three pixels have to move, two of them no further than a kink; beside a general solver.

    Translations are held: one would do it for nothing.
    """
    height, width = 3, 4
    slope, before, after = np.zeros((3, 2, height, width))
    edges = np.zeros((2, height, width))
    slope[0, 1, 1], slope[1, 2, 3], slope[0, 0, 3] = 1.0, -0.5, 0.3
    before[0, 1, 1], edges[0, 1, 1] = -1.5, -0.4
    after[1, 2, 3], edges[1, 2, 3] = 0.7, -0.5
    f, dual, force = np.zeros((2, 12)), np.zeros((4, 16)), np.zeros(3)
    right, below = np.zeros((height, width)), np.zeros((height, width))
    right[:, :-1] = below[:-1] = 1 / (8 * 0.02)
    pieces = [v.reshape(2, 12) for v in (slope, before, after, edges)]
    for _ in range(300):
        excess = 1.0 + twin.phi(f, *pieces).sum()
        flow_search.primal_dual(
            f, dual, *pieces, excess, 0.02, -1.0, np.inf, np.inf, 40, force, np.zeros(12),
            np.zeros((2, 16)), right.ravel(), below.ravel(),
        )  # fmt: skip

    def loss(z: np.ndarray) -> float:
        out = np.empty(1)
        flow_twin.flow_loss(z.reshape(1, 2, height, width), out)
        return float(out[0])

    assert 1.0 + twin.phi(f, *pieces).sum() == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(f.mean(axis=1), 0.0, atol=1e-9)
    assert f[0, 5] == pytest.approx(-0.4, abs=1e-3)
    found = optimize.minimize(
        loss, f.ravel() + 1e-3, method="SLSQP", options={"maxiter": 300},
        constraints=[
            {"type": "ineq", "fun": lambda z: -1.0 - twin.phi(z.reshape(2, 12), *pieces).sum()},
            {"type": "eq", "fun": lambda z: z.reshape(2, 12).mean(axis=1)},
        ],
    )  # fmt: skip
    assert loss(f.ravel()) <= found.fun * 1.01


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_papers_flow_loss(shape: tuple[int, int, int], diagonal: bool) -> None:
    f = np.random.default_rng(0).normal(size=(3, 2, *shape[:2]))
    weights, losses, losses64 = np.array([0.5, 1.0, 0.0]), np.empty(3), np.empty(3)
    dflow, dflow64 = np.zeros_like(f), np.zeros_like(f)
    flow.add_pair_loss(f, weights, diagonal, losses, dflow)
    flow_twin.add_pair_loss(f, weights, diagonal, losses64, dflow64)
    np.testing.assert_allclose(losses, losses64, rtol=1e-12)
    np.testing.assert_allclose(dflow, dflow64, atol=1e-12)
    numeric = np.empty_like(f)
    for k in np.ndindex(f.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = f.copy()
            moved[k] += step
            flow.add_pair_loss(moved, weights, diagonal, losses, np.zeros_like(f))
            values.append(weights @ losses)
        numeric[k] = (values[0] - values[1]) / 2e-6
    assert np.abs(dflow - numeric).max() <= 1e-6 * max(np.abs(numeric).max(), 1e-3)


def test_two_loops_are_the_bfgs_formula() -> None:
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(4, 6))
    changes = moves @ np.diag(np.arange(1.0, 7.0))  # a quadratic: positive along every move
    gradient = rng.normal(size=6)
    for n_kept, newest in ((0, -1), (2, 1), (4, 2)):
        found, expected = np.empty(6), np.empty(6)
        lbfgs.find_direction(gradient, moves, changes, n_kept, newest, found)
        lbfgs_twin.find_direction(gradient, moves, changes, n_kept, newest, expected)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_lbfgs_minimises_problems_of_different_kinds_side_by_side() -> None:
    """Two quadratics and a Rosenbrock valley, each at its own pace, beside SciPy's answer."""
    scale = np.array([1.0, 10.0, 100.0, 3.0])

    def objective(s: int, z: np.ndarray) -> tuple[float, np.ndarray]:
        if s == 2:
            return float(optimize.rosen(z)), optimize.rosen_der(z)
        centre = np.full(4, float(s + 1))
        return float(0.5 * (scale * (z - centre) ** 2).sum()), scale * (z - centre)

    n, d, m = 3, 4, 5
    start = np.array([[0.0] * 4, [5.0] * 4, [-1.2, 1.0, -1.2, 1.0]])
    trial, point, values = start.copy(), start.copy(), np.full(n, np.inf)
    gradients, direction, lengths = np.zeros((n, d)), np.zeros((n, d)), np.zeros(n)
    moves, changes = np.zeros((n, m, d)), np.zeros((n, m, d))
    kept, newest, status = np.zeros(n, np.int64), np.full(n, -1), np.zeros(n, np.int64)
    ends, rows = np.zeros(n, int), np.arange(n)
    for step in range(300):
        found = [objective(s, trial[s]) for s in rows]
        lbfgs.advance(
            rows, np.array([v for v, _ in found]), np.array([g for _, g in found]), 1e-14,
            trial, point, values, gradients, direction, lengths, moves, changes, kept, newest,
            status,
        )  # fmt: skip
        ends[rows] = step
        rows = rows[status[rows] == lbfgs.RUNNING]
        if not len(rows):
            break
    assert np.all(status != lbfgs.RUNNING)
    np.testing.assert_allclose(point[0], 1.0, atol=1e-5)
    np.testing.assert_allclose(point[1], 2.0, atol=1e-5)
    np.testing.assert_allclose(point[2], 1.0, atol=1e-3)
    assert ends[2] > ends[0]
