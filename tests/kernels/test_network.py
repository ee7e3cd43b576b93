"""Network, loss and training kernels against their twins; random numbers bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from fastadv.kernels import dense, loss, random, sgd
from fastadv.reference import dense as dense_twin
from fastadv.reference import loss as loss_twin
from fastadv.reference import random as random_twin
from fastadv.reference import sgd as sgd_twin
from fastadv.threads import set_threads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_passes_equal_their_twins(hidden: tuple[int, ...], activation: int, dtype: type) -> None:
    sizes, n = np.array([7, *hidden, 3]), 9
    params = RNG.normal(size=int(((sizes[:-1] + 1) * sizes[1:]).sum())).astype(dtype)
    X, dlogits = RNG.random((n, 7)).astype(dtype), RNG.normal(size=(n, 3)).astype(dtype)
    found = []
    for module, kind in ((dense, dtype), (dense_twin, np.float64)):
        p, x, dz = params.astype(kind), X.astype(kind), dlogits.astype(kind)
        h, d = (np.zeros(n * sum(hidden), kind) for _ in range(2))
        z, g, dx = np.empty((n, 3), kind), np.empty_like(p), np.empty_like(x)
        module.forward(x, p, sizes, activation, h, z)
        module.backward(p, sizes, activation, h, dz, d)
        module.parameter_gradient(x, sizes, h, dz, d, g)
        module.input_gradient(p, sizes, dz, d, dx)
        found.append((h, z, d, g, dx))
    for ours, twin in zip(*found, strict=True):
        np.testing.assert_allclose(ours, twin, rtol=0, atol=3e-5 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_training_equals_its_twin_for_any_threads(hidden: tuple[int, ...]) -> None:
    sizes = np.array([7, *hidden, 3])
    params = RNG.normal(size=int(((sizes[:-1] + 1) * sizes[1:]).sum())) * 0.3
    X, y, order = RNG.random((150, 7)), RNG.integers(0, 3, 150), RNG.permutation(150)
    expected, velocity = params.copy(), np.zeros_like(params)
    total = sgd_twin.epoch(X, y, order, 70, expected, velocity, sizes, 0, 0.1, 0.9, 0.5)
    bits = set()
    for threads in (1, 2):
        set_threads(threads)
        p, v = params.copy(), np.zeros_like(params)
        ours = sgd.epoch(X, y, order, 70, p, v, sizes, 0, 0.1, 0.9, 0.5)
        np.testing.assert_allclose(p, expected, atol=1e-12)
        assert ours == pytest.approx(total, rel=1e-12)
        bits.add(p.tobytes())
    assert len(bits) == 1


def test_losses_equal_their_twins_and_survive_large_logits() -> None:
    logits = RNG.normal(size=(30, 4)) * 10
    logits[0] = [1e4, -1e4, 0, 5]
    labels, targets = RNG.integers(0, 4, 30), RNG.integers(-1, 4, 30)
    targets[targets == labels] = -1
    found = []
    for module in (loss, loss_twin):
        losses, d, margins, rivals = (
            np.empty(30),
            np.empty((30, 4)),
            np.empty(30),
            np.empty(30, int),
        )
        module.cross_entropy(logits, labels, losses, d)
        module.margin(logits, labels, targets, margins, rivals)
        found.append((losses, d, margins, rivals))
    for ours, twin in zip(*found, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, twin, rtol=1e-12, atol=1e-12)


def test_random_numbers_are_those_of_their_twin_in_any_order() -> None:
    ids = np.array([0, 5, 2**63 + 11], np.uint64)
    for name, bounds in (("uniform", (-1.0, 2.0)), ("normal", ())):
        ours, twin, turned = (np.empty((3, 7), np.float64) for _ in range(3))
        key, draw = np.uint64(2**64 - 3), np.uint64(4)
        getattr(random, name)(key, ids, draw, *bounds, ours)
        getattr(random_twin, name)(int(key), ids, int(draw), *bounds, twin)
        np.testing.assert_allclose(ours, twin, rtol=1e-14)
        getattr(random, name)(key, np.ascontiguousarray(ids[::-1]), draw, *bounds, turned)
        np.testing.assert_array_equal(turned[::-1], ours)


def test_random_numbers_look_random() -> None:
    out = np.empty((40, 500))
    random.uniform(np.uint64(1), np.arange(40, dtype=np.uint64), np.uint64(0), 0.0, 1.0, out)
    assert abs(out.mean() - 0.5) < 4 / np.sqrt(12 * out.size)
    assert abs(np.corrcoef(out[0], out[1])[0, 1]) < 0.2
    random.normal(np.uint64(1), np.arange(40, dtype=np.uint64), np.uint64(0), out)
    assert abs(out.mean()) < 4 / np.sqrt(out.size)
    assert abs(out.std() - 1) < 0.03
