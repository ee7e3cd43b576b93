"""Each kernel against its plain NumPy twin, on a chunk of images as an attack works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.kernels.images import filters, flow, project
from fastadv.kernels.linalg import neighbors, product
from fastadv.kernels.network import dense, loss
from fastadv.kernels.training import sgd
from fastadv.reference import dense as dense_twin
from fastadv.reference import filters as filters_twin
from fastadv.reference import flow as flow_twin
from fastadv.reference import loss as loss_twin
from fastadv.reference import neighbors as neighbors_twin
from fastadv.reference import project as project_twin
from fastadv.reference import sgd as sgd_twin
from fastadv.threads import one_blas_thread

Call = Callable[[], Any]

_CALLS = 20  # in one round


def cases() -> dict[str, tuple[Call, Call]]:
    """Return for each kernel a call of it and the same call of its twin."""
    rng = np.random.default_rng(0)
    x = rng.random((64, 784)).astype(np.float32)
    x *= rng.random(x.shape) < 0.19  # as dense as MNIST
    field = rng.uniform(-1, 1, (64, 2, 28, 28)).astype(np.float32)
    out, losses, dfield = np.empty_like(x), np.empty(64), np.empty_like(field)
    source, y = np.empty(x.shape, np.int64), rng.integers(0, 10, 64)
    sizes = np.array([784, 128, 10])
    params = rng.normal(0, 0.05, 785 * 128 + 129 * 10).astype(np.float32)
    hidden, logits = np.empty(64 * 128, np.float32), np.empty((64, 10), np.float32)
    given, dlogits = rng.normal(size=(64, 10)).astype(np.float32), np.empty_like(logits)
    nothing = np.empty(0, np.float32), np.empty(0, np.uint16), np.empty(0, np.int64)
    state = params.copy(), np.zeros_like(params)
    step = np.full(1, 1e-3, np.float32), np.float32(0.9), np.float32(0.0)
    points = rng.normal(size=(31, 2048)).astype(np.float32)
    packed = np.empty(product.packed_size(*points.shape, points), np.float32)
    product.pack(points, packed)
    queries, numbers = np.ascontiguousarray(points.T[:128]), np.arange(2048)
    index, distance = np.empty((128, 10), np.int64), np.empty((128, 10), np.float32)

    def nearest(module: Any, points: Any) -> Call:
        def call() -> None:
            distance.fill(np.inf)
            module.nearest(queries, numbers[:128], points, numbers, 0, 128, index, distance)

        return call

    def both(kernel: Any, twin: Any, name: str, *arguments: Any) -> tuple[Call, Call]:
        def call(module: Any) -> Call:
            function = getattr(module, name)
            return lambda: function(*arguments)

        return call(kernel), call(twin)

    return {
        "forward": both(dense, dense_twin, "forward", x, params, sizes, 0, hidden, logits),
        "epoch": both(
            sgd, sgd_twin, "epoch", x, *nothing, y, np.arange(64), 64, *state, sizes, 0, *step, 1
        ),
        "cross_entropy": both(loss, loss_twin, "cross_entropy", given, y, losses, dlogits),
        "warp": both(flow, flow_twin, "warp", x, field, 1, out),
        "warp_gradient": both(flow, flow_twin, "warp_gradient", x, field, 1, x, dfield),
        "flow_loss": both(flow, flow_twin, "flow_loss", field, losses),
        "l2_project": both(project, project_twin, "l2_project", x, 0.1, 0.0, 1.0, out),
        "median": both(filters, filters_twin, "median", x, 28, 28, 1, 3, out, source),
        "nearest": (nearest(neighbors, packed), nearest(neighbors_twin, points)),
    }


def races() -> list[Race]:
    """Return a race for each kernel."""

    def work(call: Call) -> Callable[[], Work]:
        def repeated() -> dict[str, float]:
            with one_blas_thread():
                for _ in range(_CALLS):
                    call()
            return {}

        return lambda: repeated

    return [
        Race(
            "kernels",
            f"{name}, {_CALLS} calls",
            (Runner("fastadv", work(kernel)), Runner("numpy", work(twin))),
        )
        for name, (kernel, twin) in cases().items()
    ]
