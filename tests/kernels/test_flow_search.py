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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_search_equals_its_twin(shape: tuple[int, int, int], dtype: type) -> None:
    n, (height, width, channels) = 5, shape
    tolerance = 5e-5 if dtype is np.float32 else 1e-12
    rng = np.random.default_rng(1)
    x = sparse_images(shape, n, dtype)
    f = rng.uniform(-1.5, 1.5, (n, 2, height, width)).astype(dtype)
    slope = rng.normal(size=f.shape).astype(dtype)
    dual = np.zeros((n, 4, (height + 1) * width), dtype)
    cells = np.empty((n, height * width), np.uint8)
    flow.mark_cells(x, *shape, cells)
    rows = np.array([4, 1, 2])
    state64 = [f.astype(float), np.zeros((n, 4, height, width)), slope.astype(float)]
    for step in range(4):
        dout, excess = rng.normal(size=(3, x.shape[1])).astype(dtype), np.array([0.3, -0.2, 0.7])
        out, out64 = (np.empty((3, x.shape[1]), kind) for kind in (dtype, float))
        losses, losses64 = np.empty(3), np.empty(3)
        free, ceiling = ((1 / 8, np.inf), (-1 / (height * width), 0.5))[step % 2]
        flow_search.advance(
            x, cells, channels, rows, dout, excess.astype(dtype), dtype(0.03), dtype(free),
            dtype(ceiling), dtype(0.2), dtype(0.5), 3, f, dual, slope, out, losses,
        )  # fmt: skip
        twin.advance(
            x.astype(float), channels, rows, dout.astype(float), excess, 0.03, free, ceiling, 0.2, 0.5,
            3, *state64, out64, losses64,
        )  # fmt: skip
        np.testing.assert_allclose(slope, state64[2], atol=20 * tolerance)
        np.testing.assert_allclose(f, state64[0], atol=20 * tolerance)
        np.testing.assert_allclose(out, out64, atol=20 * tolerance)
        np.testing.assert_allclose(losses, losses64, rtol=20 * tolerance)
    f64 = f[:3].astype(float)
    flow_search.climb(x[rows], cells[rows], channels, dout, dtype(0.1), dtype(0.4), f[:3])
    twin.climb(x[rows].astype(float), channels, dout.astype(float), 0.1, 0.4, f64)
    np.testing.assert_allclose(f[:3], f64, atol=tolerance)
    assert np.abs(f[:3]).max() <= dtype(0.4)


def test_the_averaged_derivative_is_the_average_of_the_exact_one() -> None:
    """Over reads from half a pixel before to half a pixel behind, along each component."""
    shape = (6, 7, 1)
    x = sparse_images(shape, 1, np.float64)
    f = np.random.default_rng(3).uniform(-0.4, 0.4, (1, 2, 6, 7))
    inside = np.zeros((6, 7), dtype=bool)
    inside[2:-2, 2:-2] = True
    cells, g = np.empty((1, 42), np.uint8), np.ones_like(x)
    flow.mark_cells(x, *shape, cells)
    slope = np.zeros((2, 6, 7))
    room = np.empty(42, np.int32), np.empty(42), np.empty(42), np.empty(43, np.int32)
    flow_search.slope_gradient(x[0], cells[0], f[0], 1, g[0], 0.0, *room, slope)
    for c in range(2):
        mean = np.zeros((6, 7))
        for shift in (np.arange(4000) + 0.5) / 4000 - 0.5:
            moved, exact = f.copy(), np.empty_like(f)
            moved[:, c] += shift
            flow.warp_gradient(x, moved, 1, g, exact)
            mean += exact[0, c] / 4000
        np.testing.assert_allclose(slope[c][inside], mean[inside], atol=1e-3)


def test_primal_dual_steps_find_the_least_flow_of_a_linear_problem() -> None:
    """One pixel has to move: the least flow is compared with a general solver's."""
    height, width = 3, 4
    g = np.zeros((2, height, width))
    g[0, 1, 1], g[1, 2, 3], g[0, 0, 3] = 1.0, -0.5, 0.3
    g -= g.mean(axis=(1, 2), keepdims=True)  # a translation would do it for nothing
    f, dual = np.zeros((2, 12)), np.zeros((4, 16))
    right, below = np.zeros((height, width)), np.zeros((height, width))
    right[:, :-1] = below[:-1] = 1 / (8 * 0.1)
    flow_search.primal_dual(
        f, dual, g.reshape(2, 12), 1.0, 0.1, 1 / 8, np.inf, np.inf, 6000, np.zeros((2, 16)),
        right.ravel(), below.ravel(),
    )  # fmt: skip
    assert 1.0 + g.ravel() @ f.ravel() == pytest.approx(0.0, abs=1e-3)

    def loss(z: np.ndarray) -> float:
        out = np.empty(1)
        flow_twin.flow_loss(z.reshape(1, 2, height, width), out)
        return float(out[0])

    found = optimize.minimize(
        loss, f.ravel(), method="SLSQP", options={"maxiter": 200},
        constraints={"type": "eq", "fun": lambda z: 1.0 + g.ravel() @ z},
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
