"""Flow, projection and filter kernels: against their twins, SciPy, and central differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from twins import filters as filters_twin
from twins import flow as flow_twin
from twins import project as project_twin

from fastadv.kernels.images import filters, flow, project

SHAPES = [(5, 7, 1), (6, 4, 3), (1, 5, 1)]


def problem(shape: tuple[int, int, int], dtype: type, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random((n, int(np.prod(shape)))).astype(dtype)
    return x, rng.uniform(-1.7, 1.7, (n, 2, *shape[:2])).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flow_kernels_equal_their_twins(shape: tuple[int, int, int], dtype: type) -> None:
    x, f = problem(shape, dtype)
    tolerance = 2e-5 if dtype is np.float32 else 1e-12
    g, weights = (
        np.random.default_rng(1).normal(size=x.shape).astype(dtype),
        np.arange(1, 5).astype(dtype),
    )
    out, losses = np.empty_like(x), np.empty(4)
    dflow = np.empty_like(f)
    flow.warp(x, f, shape[2], out)
    flow.flow_loss(f, losses)
    flow.warp_gradient(x, f, shape[2], g, dflow)
    flow.add_flow_loss_gradient(f, weights, 0.04, dflow)
    x64, f64, g64 = x.astype(float), f.astype(float), g.astype(float)
    out64, losses64, dflow64 = np.empty_like(x64), np.empty(4), np.empty_like(f64)
    flow_twin.warp(x64, f64, shape[2], out64)
    flow_twin.flow_loss(f64, losses64)
    flow_twin.warp_gradient(x64, f64, shape[2], g64, dflow64)
    flow_twin.add_flow_loss_gradient(f64, weights.astype(float), 0.04, dflow64)
    np.testing.assert_allclose(out, out64, atol=tolerance)
    np.testing.assert_allclose(losses, losses64, rtol=tolerance)
    np.testing.assert_allclose(dflow, dflow64, atol=20 * tolerance)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_flow_gradients_are_central_differences(shape: tuple[int, int, int]) -> None:
    x, f = problem(shape, np.float64, n=1)
    f[np.abs(f - np.round(f)) < 0.01] += 0.05  # away from the kinks at whole numbers
    g = np.random.default_rng(1).normal(size=x.shape)

    def objective(f: np.ndarray) -> float:
        out, losses = np.empty_like(x), np.empty(1)
        flow.warp(x, f, shape[2], out)
        flow.flow_loss(f, losses)
        return float((out * g).sum() + 0.7 * losses[0])

    dflow = np.empty_like(f)
    flow.warp_gradient(x, f, shape[2], g, dflow)
    flow.add_flow_loss_gradient(f, np.array([0.7]), flow.ROOT_EPS, dflow)
    numeric = np.empty_like(f)
    for k in np.ndindex(f.shape):
        up, down = f.copy(), f.copy()
        up[k] += 1e-6
        down[k] -= 1e-6
        numeric[k] = (objective(up) - objective(down)) / 2e-6
    assert np.abs(dflow - numeric).max() <= 1e-6 * np.abs(numeric).max()


def test_warp_equals_scipy() -> None:
    x, f = problem((9, 8, 1), np.float64)
    out = np.empty_like(x)
    flow.warp(x, f, 1, out)
    rows, columns = np.mgrid[:9, :8]
    for s in range(4):
        points = [rows + f[s, 1], columns + f[s, 0]]
        expected = ndimage.map_coordinates(x[s].reshape(9, 8), points, order=1, mode="nearest")
        np.testing.assert_allclose(out[s].reshape(9, 8), expected, atol=1e-12)


def test_no_flow_is_the_identity_and_no_flow_leaves_the_range() -> None:
    x, _ = problem((6, 5, 1), np.float32)
    out = np.empty_like(x)
    flow.warp(x, np.zeros((4, 2, 6, 5), np.float32), 1, out)
    np.testing.assert_array_equal(out, x)
    for shift in (-0.5, 0.0, 4.0, 4.5, 100.0, -100.0):
        flow.warp(x, np.full((4, 2, 6, 5), shift, np.float32), 1, out)
        assert out.min() >= 0
        assert out.max() <= 1
    losses = np.empty(4)
    flow.flow_loss(np.full((4, 2, 6, 5), 3.0, np.float32), losses)
    np.testing.assert_allclose(losses, 30 * 1e-4, rtol=1e-3)


def test_projections_equal_their_twins_and_stay_inside() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((20, 12)).astype(np.float32)
    far, g = (
        (x + rng.normal(0, 1, x.shape)).astype(np.float32),
        rng.normal(size=x.shape).astype(np.float32),
    )
    g[3] = 0
    for name, size in (("linf_project", 0.2), ("l2_project", 0.9)):
        a, b = far.copy(), far.astype(float)
        getattr(project, name)(x, size, 0.0, 1.0, a)
        getattr(project_twin, name)(x.astype(float), size, 0.0, 1.0, b)
        np.testing.assert_allclose(a, b, atol=3e-6)
        assert a.min() >= 0
        assert a.max() <= 1
        change = a.astype(float) - x
        norm = np.abs(change).max() if name[1] == "i" else np.linalg.norm(change, axis=1).max()
        assert norm <= size * (1 + 1e-6)
    sizes = rng.random(20)
    for name in ("linf_step", "l2_step"):
        a, b = x.copy(), x.astype(float)
        getattr(project, name)(g, sizes, a)
        getattr(project_twin, name)(g.astype(float), sizes, b)
        np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_array_equal(a[3], x[3])
    a, before = x.copy(), far.copy()
    b, before64 = x.astype(float), far.astype(float)
    project.momentum_step(g, 0.75, a, before)
    project_twin.momentum_step(g.astype(float), 0.75, b, before64)
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(before, x)
    np.testing.assert_array_equal(before64, x)
    x64, away = x.astype(float), np.full(x.shape, 0.5)
    x64[:5, ::2] = np.arange(x64[:5, ::2].size).reshape(5, -1) % 2  # on either bound
    headings, moved = np.ones((2, *x.shape)), np.empty((2, *x.shape))
    for module, *out in zip((project, project_twin), headings, moved, strict=True):
        module.climb(x64, g.astype(float), away, 0.0, 1.0, 0.7, sizes, *out)
    np.testing.assert_allclose(*headings, atol=1e-12)
    np.testing.assert_allclose(*moved, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(moved[0] - x64, axis=1), sizes, atol=1e-12)
    found, expected = np.empty((2, 20)), np.empty((2, 20))
    project.distances(x, far, *found)
    project_twin.distances(x.astype(float), far.astype(float), *expected)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_l2_ball_is_used_up_and_not_left_by_rounding() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0.4, 0.6, (200, 12)).astype(np.float32)
    x_adv = (x + rng.normal(0, 1, x.shape)).astype(np.float32)
    project.l2_project(x, 0.3, 0.0, 1.0, x_adv)
    norms = np.linalg.norm(x_adv.astype(float) - x, axis=1)
    assert 0.3 * (1 - 3e-6) < norms.min() <= norms.max() <= 0.3


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_median_equals_its_twin_and_scipy(size: int, shape: tuple[int, int, int]) -> None:
    x, _ = problem(shape, np.float64)
    out, source = np.empty_like(x), np.empty(x.shape, np.int64)
    filters.median(x, *shape, size, out, source)
    out_twin, source_twin = np.empty_like(x), np.empty(x.shape, np.int64)
    filters_twin.median(x, *shape, size, out_twin, source_twin)
    np.testing.assert_array_equal(out, out_twin)
    np.testing.assert_array_equal(source, source_twin)
    expected = ndimage.median_filter(x.reshape(4, *shape), size=(1, size, size, 1), mode="nearest")
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)
    np.testing.assert_array_equal(np.take_along_axis(x, source, axis=1), out)
    dx, dx_twin, g = (
        np.empty_like(x),
        np.empty_like(x),
        np.random.default_rng(2).normal(size=x.shape),
    )
    filters.scatter(g, source, dx)
    filters_twin.scatter(g, source, dx_twin)
    np.testing.assert_allclose(dx, dx_twin, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_mean_equals_its_twin_and_scipy(size: int, shape: tuple[int, int, int]) -> None:
    x, _ = problem(shape, np.float64)
    out, twin, g = (
        np.empty_like(x),
        np.empty_like(x),
        np.random.default_rng(2).normal(size=x.shape),
    )
    filters.mean(x, *shape, size, out)
    filters_twin.mean(x, *shape, size, twin)
    np.testing.assert_allclose(out, twin, atol=1e-14)
    expected = ndimage.uniform_filter(x.reshape(4, *shape), size=(1, size, size, 1), mode="nearest")
    np.testing.assert_allclose(out.reshape(expected.shape), expected, atol=1e-14)
    dx, dx_twin = np.empty_like(x), np.empty_like(x)
    filters.spread(g, *shape, size, dx)
    filters_twin.spread(g, *shape, size, dx_twin)
    np.testing.assert_allclose(dx, dx_twin, atol=1e-14)
    # linear, so that the gradient is exact for steps of any size
    np.testing.assert_allclose((out * g).sum(axis=1), (x * dx).sum(axis=1), atol=1e-12)
