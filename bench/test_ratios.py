"""Each kernel against its NumPy twin, each attack against its bare matrix products.

The two run in turn in one process, and what is guarded is the ratio of their best times: it holds
on any machine. A kernel or an attack fails if the median of three such ratios is worse than the
stored one by more than a quarter.

Beside other work, the rounds of a measurement differ from one another: then it is made again, and
where three quiet ones are not to be had, nothing is said against a kernel but that the machine is
too noisy to judge it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

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
NOISY = 1.1  # the median round of a quiet measurement takes at most so many times the best one
WANTED, MOST = 3, 9  # quiet measurements, and measurements in all


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


class Measured(NamedTuple):
    ratio: float  # how many times faster ours is, by the best of each
    noise: float  # how many times the best round the median one took, of the worse of the two


def measure(ours: Call, reference: Call) -> Measured:
    """Let both take turns."""
    ours(), reference()
    times = [(best(reference, 3), best(ours, 5)) for _ in range(ROUNDS)]
    theirs, mine = zip(*times, strict=True)
    noise = max(statistics.median(side) / min(side) for side in (theirs, mine))
    return Measured(min(theirs) / min(mine), noise)


def quiet(measured: Sequence[Measured]) -> list[Measured]:
    return [one for one in measured if one.noise <= NOISY]


def measured_in_quiet(ours: Call, reference: Call) -> list[Measured]:
    """Measure until enough is quiet, or until that is no more to be hoped for."""
    found: list[Measured] = []
    while len(found) < MOST and len(quiet(found)) < WANTED:
        found.append(measure(ours, reference))
    return found


def verdict(measured: Sequence[Measured], stored: float) -> Literal["fast", "slow", "noisy"]:
    """Judge by the quiet measurements; without enough of them, nothing is called slow."""
    judged = quiet(measured)
    enough = len(judged) >= WANTED
    ratios = [one.ratio for one in (judged if enough else measured)]
    if statistics.median(ratios) >= stored / WORSE:
        return "fast"
    return "slow" if enough else "noisy"


def told(measured: Sequence[Measured]) -> str:
    return ", ".join(f"{one.ratio:.2f} (noise {one.noise:.2f})" for one in measured)


@pytest.mark.parametrize("name", CASES)
def test_ratio_to_the_reference(name: str, benchmark: object) -> None:
    measured = measured_in_quiet(*CASES[name])
    found = statistics.median(one.ratio for one in measured)
    benchmark.extra_info["times faster than its reference"] = round(found, 2)  # type: ignore[attr-defined]
    benchmark(CASES[name][0])  # type: ignore[operator]
    print(f"{name}: {told(measured)} times as fast as its reference (stored {BASELINE[name]:.2f})")
    judged = verdict(measured, BASELINE[name])
    if judged == "noisy":
        pytest.skip(f"{name}: this machine is too noisy to judge it: {told(measured)}")
    assert judged == "fast", told(measured)


def test_a_planted_slowdown_is_found() -> None:
    kernel, twin = CASES["flow_loss"]
    stored = statistics.median(
        one.ratio for one in measured_in_quiet(lambda: (kernel(), kernel()), twin)
    )
    slowed = measured_in_quiet(lambda: (kernel(), kernel(), kernel()), twin)  # 1.5 times
    judged = verdict(slowed, stored)
    if judged == "noisy":
        pytest.skip(f"this machine is too noisy to judge a planted slowdown: {told(slowed)}")
    assert judged == "slow", f"{told(slowed)}, stored {stored:.2f}"


def test_a_slowdown_beside_other_work_is_not_judged() -> None:
    calm, busy = [Measured(0.7, 1.02)] * 3, [Measured(0.7, 1.5)] * 9
    assert verdict(calm, 1.0) == "slow"
    assert verdict(busy, 1.0) == "noisy"
    assert verdict(busy[:6] + calm, 1.0) == "slow"
    assert verdict([*busy[:6], *calm[:2], Measured(1.0, 1.0)], 1.0) == "slow"
    assert verdict([*busy[:6], calm[0], *[Measured(0.9, 1.0)] * 2], 1.0) == "fast"
    assert verdict([Measured(0.9, 1.5)] * 9, 1.0) == "fast"
