"""Each kernel against its NumPy twin, in one run and in turn: the ratio is what is guarded.

A ratio of medians holds on any machine, and on a noisy one; an absolute time does not. A kernel
fails if it is slower than its stored ratio by more than a factor of 2, three times in a row.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastadv.kernels import filters, flow, project
from fastadv.reference import filters as filters_twin
from fastadv.reference import flow as flow_twin
from fastadv.reference import project as project_twin

BASELINE = json.loads((Path(__file__).parent / "baseline.json").read_text())
WORSE = 2.0
ROUNDS = 7

RNG = np.random.default_rng(0)
X = RNG.random((64, 784)).astype(np.float32)
F = RNG.uniform(-1, 1, (64, 2, 28, 28)).astype(np.float32)
OUT, LOSSES, DFLOW = np.empty_like(X), np.empty(64), np.empty_like(F)
SOURCE = np.empty(X.shape, np.int64)

CASES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "warp": (lambda: flow.warp(X, F, 1, OUT), lambda: flow_twin.warp(X, F, 1, OUT)),
    "warp_gradient": (
        lambda: flow.warp_gradient(X, F, 1, X, DFLOW),
        lambda: flow_twin.warp_gradient(X, F, 1, X, DFLOW),
    ),
    "flow_loss": (lambda: flow.flow_loss(F, LOSSES), lambda: flow_twin.flow_loss(F, LOSSES)),
    "l2_project": (
        lambda: project.l2_project(X, 0.1, 0.0, 1.0, OUT),
        lambda: project_twin.l2_project(X, 0.1, 0.0, 1.0, OUT),
    ),
    "median": (
        lambda: filters.median(X, 28, 28, 1, 3, OUT, SOURCE),
        lambda: filters_twin.median(X, 28, 28, 1, 3, OUT, SOURCE),
    ),
}


def seconds(work: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def ratio(kernel: Callable[[], object], twin: Callable[[], object]) -> float:
    """How many times faster the kernel is: the median over alternating rounds."""
    kernel()
    twin()
    return statistics.median(seconds(twin, 3) / seconds(kernel, 10) for _ in range(ROUNDS))


def too_slow(measured: list[float], stored: float) -> bool:
    return max(measured) < stored / WORSE


@pytest.mark.parametrize("name", CASES)
def test_ratio_to_the_twin(name: str, benchmark: object) -> None:
    kernel, twin = CASES[name]
    measured: list[float] = []
    while len(measured) < 3 and (not measured or too_slow(measured, BASELINE[name])):
        measured.append(ratio(kernel, twin))
    benchmark.extra_info["times faster than NumPy"] = round(max(measured), 1)  # type: ignore[attr-defined]
    benchmark(kernel)  # type: ignore[operator]
    print(f"{name}: {max(measured):.1f} times as fast as NumPy (stored {BASELINE[name]:.1f})")
    assert not too_slow(measured, BASELINE[name])


def test_a_planted_slowdown_is_found() -> None:
    kernel, twin = CASES["warp"]
    slow = ratio(lambda: [kernel() for _ in range(int(4 * WORSE))], twin)
    assert too_slow([slow], ratio(kernel, twin))
