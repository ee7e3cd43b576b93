"""The derivative of training: kernels against their twins, and the exponential that they use."""

from __future__ import annotations

import numpy as np
import pytest
from twins import unroll as unroll_twin

from fastadv.kernels._jit import kernel
from fastadv.kernels.linalg import exponential
from fastadv.kernels.training import unroll
from fastadv.models.rows import Rows

RNG = np.random.default_rng(0)
N, D, K = 9, 7, 3
MINI = np.array([[0, 4, 8, 1], [2, 3, 5, -1], [6, 7, 0, 2]])
WHOLE = np.tile(np.arange(N), (3, 1))


@pytest.mark.parametrize("batches", [MINI, WHOLE], ids=["mini-batches", "whole"])
@pytest.mark.parametrize("form", ["gram", "dense", "sparse"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", [0, 1, 2])
def test_training_and_its_derivative_equal_their_twins(
    hidden: tuple[int, ...], activation: int, form: str, batches: np.ndarray
) -> None:
    sizes = np.array([0, *hidden, K])
    rates, setting = np.array([0.3, 0.1, 0.4]), unroll.Setting(sizes, activation, 0.8, 0.5)
    h, n_upper = int(sizes[1]), int(((sizes[:-1] + 1) * sizes[1:]).sum())
    X, y, X_val = RNG.random((N, D)), RNG.integers(0, K, N), RNG.random((5, D))
    X *= RNG.random((N, D)) < 0.6
    X[4], X[6] = 0, 0.5
    first, upper_0 = RNG.normal(size=(D, h)), RNG.normal(size=n_upper)
    slots, p = np.array([1, -1, 0, -1, -1, -1, -1, 2, -1]), 3
    gram = form == "gram"
    features_val = X_val @ X.T if gram else X_val
    rows_of = Rows.sparse if form == "sparse" else Rows.dense
    features = rows_of(X @ X.T if gram else X)
    offset, offset_val = (X @ first, X_val @ first) if gram else (np.empty((0, h)),) * 2
    found = []
    for module in (unroll, unroll_twin):
        C = np.zeros((N, h)) if gram else first.copy()
        scale, upper = np.array([1.0, 0.0]), upper_0.copy()
        state = unroll.State(C, np.zeros_like(C), scale, upper, np.zeros_like(upper))
        activations = np.zeros((3, batches.shape[1] * sizes[1:].sum()))
        trace = unroll.Trace(activations, np.empty((3, n_upper)))
        module.train(features, offset, y, batches, rates, setting, state, trace)
        d_val, upper_adjoint = np.empty((5, h)), np.empty_like(upper)
        loss = module.validation_loss(
            features_val, offset_val, y[:5], setting, state, d_val, upper_adjoint
        )
        E, share = np.zeros_like(C) if gram else X_val.T @ d_val, np.ones(2)
        offset_back = features_val.T @ d_val if gram else offset
        poison, rows, columns = np.zeros((2, p, h)), np.zeros((p, N)), np.zeros((p, len(C)))
        upper_adjoints = upper_adjoint, upper_adjoint.copy()
        adjoints = unroll.Adjoints(E, E.copy(), share, *upper_adjoints, *poison, rows, columns)
        module.reverse(features, offset_back, y, slots, batches, rates, setting, trace, adjoints)
        found.append((np.array(loss), *state, *trace, d_val, *adjoints))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", [0, 1, 2])
def test_rows_of_a_step_equal_their_twins(hidden: tuple[int, ...], activation: int) -> None:
    sizes = np.array([0, *hidden, K])
    setting, rate = unroll.Setting(sizes, activation, 0.8, 0.5), 0.3
    h, n_upper = int(sizes[1]), int(((sizes[:-1] + 1) * sizes[1:]).sum())
    X, y, slots = (
        RNG.random((N, D)),
        RNG.integers(0, K, N),
        np.array([1, -1, 0, -1, -1, -1, -1, 2, -1]),
    )
    offset = RNG.normal(size=(N, h))
    C, velocity, E, V, upper, direction, V_poison = (
        RNG.normal(size=shape) for shape in (*[(N, h)] * 4, n_upper, n_upper, (3, h))
    )
    found = []
    for module in (unroll, unroll_twin):
        v, e, C_next, V_next = velocity.copy(), E.copy(), np.zeros((N, h)), np.zeros((N, h))
        activations, gradient = np.zeros(5 * int(sizes[1:].sum())), np.empty(n_upper)
        state = unroll.State(C, v, np.array([0.7, 0.0]), upper, np.empty(n_upper))
        module.train_rows(
            X @ (X.T @ C), offset, y, 2, 7, rate, setting, state, C_next, activations, gradient
        )
        back, rows, columns = np.empty(n_upper), np.ones((3, N)), np.ones((3, N))
        share = np.array([0.0, 0.4])
        adjoints = unroll.Adjoints(
            e, V, share, np.empty(n_upper), direction, np.empty((3, h)), V_poison, rows, columns
        )
        module.reverse_rows(
            X @ (X.T @ V), offset, y, slots, 2, 7, rate, setting, activations, upper, adjoints,
            V_next, back,
        )  # fmt: skip
        found.append((v, C_next, activations, gradient, e, V_next, back, rows, columns))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-8, atol=1e-11)


@kernel
def exponential_of(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = exponential.exp64(x[i])


def test_the_exponential_is_right_also_when_a_fast_kernel_compiles_it_first() -> None:
    x = np.concatenate([RNG.uniform(-700, 700, 2000), RNG.normal(size=2000), [0.0, 1.0, -1.0]])
    x = np.append(x, [-1e9, 1e9, -np.inf, np.inf])
    out = np.empty_like(x)
    exponential_of(x, out)
    twin = np.exp(np.clip(x, -708.0, 709.0))
    assert np.all(np.abs(out - twin) <= 2 * np.spacing(twin))
    assert exponential.exp64(0.0) == 1.0
    assert np.isnan(exponential.exp64(np.nan))
