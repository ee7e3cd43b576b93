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

import pytest

from fastadv.benchmarks.kernels import cases

BASELINE = json.loads((Path(__file__).parent / "baseline.json").read_text())
WORSE = 2.0
ROUNDS = 7
CASES = cases()


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


@pytest.mark.parametrize("name", BASELINE)
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
