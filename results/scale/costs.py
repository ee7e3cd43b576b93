"""What the coordinator of a Dask cluster spends beside the stages: `costs.json`, and a check.

    python results/scale/costs.py --stage 1.79e-3 --output results/scale/costs.json

``--stage`` is what `python tests/robustness/dask_overhead.py empty --folder /dev/shm` prints of the
coordinator's processor, in seconds. What a byte costs and how long a message is under way are
measured here; then a small grid runs on one worker and on two, and what `simulate.py` makes of the
times of its stages is set beside how long it took. A quiet machine of two cores, two minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from simulate import Costs, Stage, makespan

from fastadv import Dask, run_grid
from fastadv.grid.executors import wire
from fastadv.grid.stages.base import Made
from fastadv.grid.store import Store
from fastadv.threads import set_threads, thread_count

TMPFS = "/dev/shm"
GRID: dict[str, Any] = {
    "attacks": "pgd,stadv,label_flip", "defenses": "none,adv_training,median",
    "dataset": "mnist[train=10000,test=2000]", "samples": 600, "repeats": 8,
}  # fmt: skip


def of_a_byte(folder: Path) -> float:
    """Return the seconds to unpack, keep and pack again a byte of a result, of large ones."""
    store, times = Store(folder), []
    for size in (1 << 18, 1 << 20):
        made = Made({"a": np.random.default_rng(0).random(size, np.float32)}, {"seconds": 1.0})
        packed = wire.packed_made(made)
        start = time.perf_counter()
        for _ in range(10):
            store.save_stage("0" * 16, wire.unpacked_made(packed))
            wire.packed_made(made)
        times.append((time.perf_counter() - start) / 10)
    return (times[1] - times[0]) / (4 * ((1 << 20) - (1 << 18)))


def travels(n_workers: int, folder: Path) -> list[dict[str, Any]]:
    """Run the small grid on so many workers, and return what is known of each stage."""
    before = thread_count()
    set_threads(n_workers)
    run_grid(**GRID, output=folder, executor=Dask(f"local[{n_workers}]"))
    set_threads(before)
    return [json.loads(line) for line in (folder / "travels.jsonl").read_text().splitlines()]


def took(ended: list[dict[str, Any]]) -> float:
    """Return the seconds from the first stage's beginning to the last one's end."""
    return max(one["at"] for one in ended) - min(one["at"] - one["away"] for one in ended)


def stages_of(ended: list[dict[str, Any]]) -> list[Stage]:
    """Return stages for the simulation, as they went."""
    place = {one["key"]: i for i, one in enumerate(ended)}
    stages = []
    for i, one in enumerate(ended):
        needs = [place[key] for key in one["needs"] if key in place]
        stages.append(Stage(i, one["seconds"], one["received"], needs, []))
    for stage in stages:
        for needed in stage.needs:
            stages[needed].needed_by.append(stage.order)
    return stages


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=TMPFS) as name:
        byte = of_a_byte(Path(name) / "bytes")
        went = {n: travels(n, Path(name) / str(n)) for n in (1, 2)}
    # Alone a worker waits for each answer; what of it is no work is the trip.
    waits = median(one["away"] - one["seconds"] for one in went[1] if one["received"] < 1 << 16)
    trip = max(0.0, waits - asked.stage)
    costs = Costs(stage=asked.stage, byte=byte, trip=trip)
    small = [
        {
            "workers": n, "stages": len(ended), "took": took(ended),
            "simulated": makespan(stages_of(ended), n, costs),
        }
        for n, ended in went.items()
    ]  # fmt: skip
    document = {"stage": asked.stage, "byte": byte, "trip": trip, "small": small}
    asked.output.write_text(json.dumps(document, indent=1) + "\n")
    for one in small:
        off = one["simulated"] / one["took"] - 1
        print(
            f"{one['stages']} stages on {one['workers']} workers: {one['took']:.1f} s, "
            f"simulated {one['simulated']:.1f} s ({100 * off:+.0f} %)"
        )


if __name__ == "__main__":
    main()
