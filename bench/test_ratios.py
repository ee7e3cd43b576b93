"""Each kernel against its NumPy twin, each attack against its bare matrix products.

The two run in turn in one process, and what is guarded is the ratio of their best times: it holds
on any machine, and beside other work too, which lengthens the mean and not the best. A kernel or an
attack fails if the median of three such ratios is worse than the stored one by more than a quarter.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fastadv import MLPClassifier, Task, make_attack
from fastadv.benchmarks import limits
from fastadv.benchmarks.kernels import cases
from fastadv.threads import one_blas_thread, set_threads, thread_count

Call = Callable[[], object]

BASELINE = json.loads((Path(__file__).parent / "baseline.json").read_text())
WORSE = 1.25
ROUNDS = 7


def attack_cases() -> dict[str, tuple[Call, Call]]:
    """Return for each attack a call of it on a chunk of images, and the products of its passes."""
    rng = np.random.default_rng(0)
    x = (rng.random((64, 784)) * (rng.random((64, 784)) < 0.19)).astype(np.float32)
    weights = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in ((784, 128), (128, 10))]
    model = MLPClassifier.from_weights(weights, [np.zeros(128), np.zeros(10)])
    y, task = model.predict(x), Task(image_shape=(28, 28, 1), n_classes=10)

    def case(text: str) -> tuple[Call, Call]:
        attack = make_attack(text)
        queries = attack.perturb(model, x, y, task=task).queries
        bare = limits.attack_products(weights, x, queries["forward"], queries["backward"])
        return lambda: attack.perturb(model, x, y, task=task), bare

    # Of a few milliseconds, so that the best of many runs is one that nothing has interrupted.
    return {"pgd": case("pgd[steps=3]"), "apgd": case("apgd[steps=3]")}


CASES = cases() | attack_cases()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = thread_count()
    set_threads(1)
    with one_blas_thread():
        yield
    set_threads(before)


def best(work: Call, calls: int) -> float:
    """Return the seconds of the fastest of so many calls."""
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def ratio(ours: Call, reference: Call) -> float:
    """Return how many times faster ours is: the best of each over rounds in turn."""
    ours(), reference()
    times = [(best(reference, 3), best(ours, 5)) for _ in range(ROUNDS)]
    return min(t for t, _ in times) / min(t for _, t in times)


def too_slow(measured: list[float], stored: float) -> bool:
    return statistics.median(measured) < stored / WORSE


@pytest.mark.parametrize("name", CASES)
def test_ratio_to_the_reference(name: str, benchmark: object) -> None:
    ours, reference = CASES[name]
    measured = [ratio(ours, reference) for _ in range(3)]
    found = statistics.median(measured)
    benchmark.extra_info["times faster than its reference"] = round(found, 2)  # type: ignore[attr-defined]
    benchmark(ours)  # type: ignore[operator]
    print(f"{name}: {found:.2f} times as fast as its reference (stored {BASELINE[name]:.2f})")
    assert not too_slow(measured, BASELINE[name])


def test_a_planted_slowdown_is_found() -> None:
    kernel, twin = CASES["flow_loss"]
    slowed = [ratio(lambda: (kernel(), kernel()), twin) for _ in range(3)]
    assert too_slow(slowed, ratio(kernel, twin))
