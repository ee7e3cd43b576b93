"""What a stage costs beside its own work: ``python tests/robustness/dask_overhead.py``.

``empty``    so many stages that do nothing, on ``local[2]``, results in a folder that may be a
             tmpfs: the time a stage (at most 5 ms), and the coordinator's processor time and memory
``speed``    a grid of half a minute on two workers of one thread against the same on one, the start
             of the workers included: how many times as fast, the median of five (at least 1.7 on two
             idle cores)
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fastadv import threads
from fastadv.grid.executors.base import Queue
from fastadv.grid.executors.dask import Dask
from fastadv.grid.plan import Plan, Planned
from fastadv.grid.run import asked, run_grid
from fastadv.grid.stages.training import Take
from fastadv.grid.store import Store
from fastadv.models.mlp import MLPClassifier

LIMIT = 5e-3  # seconds a stage
GRID = {
    "attacks": ["pgd", "stadv", "label_flip"], "defenses": ["none", "adv_training", "median"],
    "dataset": "mnist[train=10000,test=2000]", "samples": 600, "repeats": 8,
}  # fmt: skip


def trained(folder: Path) -> tuple[str, str]:
    """Write a small data set and a model of it; return their files."""
    rng = np.random.default_rng(0)
    X = rng.random((60, 5, 4)).astype(np.float32)
    y = np.arange(60) % 3
    data, model = folder / "small.npz", folder / "model.npz"
    np.savez(data, x_train=X, y_train=y, x_test=X, y_test=y)
    MLPClassifier((6,), max_iter=1).fit(X.reshape(60, -1), y).save(model)
    return str(data), str(model)


def empty_stages(n: int, address: str, results: Path) -> dict[str, float]:
    """Run stages that only say which model they are of; return what they took."""
    data, model = trained(results)
    context = asked(
        attacks=["fgsm"], defenses=["none"], dataset=data, model=model, samples=20, repeats=1,
        seed=0,
    )  # fmt: skip
    defense = context.grid.defenses[0]
    keys = [f"{i:016x}" for i in range(n)]
    plan = Plan({key: Planned(key, Take(defense, None, i), {}) for i, key in enumerate(keys)})
    queue = Queue(plan, Store(results / "grid"))
    first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = spent = 0.0
    ended = []
    for outcome in Dask(address).run(queue, context, lambda _: None):
        if not ended:  # the workers are there
            begun, spent = time.perf_counter(), time.process_time()
        ended.append(outcome)
    wall, cpu = time.perf_counter() - begun, time.process_time() - spent
    assert {outcome.status for outcome in ended} == {"ok"}
    assert len(ended) == n
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first
    return {"wall": wall / (n - 1), "cpu": cpu / (n - 1), "grown": grown / 1e3}


@contextmanager
def n_threads(n: int) -> Iterator[None]:
    before = threads.thread_count()
    threads.set_threads(n)
    try:
        yield
    finally:
        threads.set_threads(before)


def took(n_workers: int) -> float:
    """Return the seconds of a grid on so many workers of one thread."""
    with n_threads(n_workers):
        begun = time.perf_counter()
        result = run_grid(**GRID, executor=Dask(f"local[{n_workers}]"))
    assert {row.status for row in result.runs} == {"ok"}
    return time.perf_counter() - begun


def main() -> int:
    """Measure what was asked for, print it, and return 1 if it is not as it should be."""
    options = argparse.ArgumentParser()
    options.add_argument("what", choices=["empty", "speed"])
    options.add_argument("--stages", type=int, default=10_000)
    options.add_argument("--address", default="local[2]")
    options.add_argument("--folder", default=None, help="for example on a tmpfs")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    if given.what == "empty":
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            took_ = empty_stages(given.stages, given.address, Path(name))
        print(
            f"{given.stages} empty stages on {given.address}: {1e3 * took_['wall']:.2f} ms a stage,"
            f" {1e3 * took_['cpu']:.2f} ms of it the coordinator's processor;"
            f" it grew by {took_['grown']:.0f} MB"
        )
        return int(took_["wall"] > LIMIT)
    ratios = []
    for _ in range(given.rounds):
        one, two = took(1), took(2)
        ratios.append(one / two)
        print(f"one worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} times", flush=True)
    median = statistics.median(ratios)
    print(f"median {median:.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    return int(median < 1.7)


if __name__ == "__main__":
    sys.exit(main())
