"""Run a grid in this process and note of each of its stages what it took: `stages.json`.

    python results/scale/stages.py --output results/scale/stages.json

One run (a seed) of ten attacks, the clean row among them, against ten defenses, full size: what
`simulate.py` makes a grid of 10,000 cells of. Quiet machine, one thread; minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastadv import run_grid
from fastadv.grid.context import Context
from fastadv.grid.executors.base import Begin, Outcome, Queue, attempt
from fastadv.grid.stages.base import Inputs
from fastadv.threads import set_threads

ATTACKS = "fgsm,pgd,apgd,deepfool,stadv[translation=false],biggio,label_flip,backdoor,spatial"
DEFENSES = (
    "none,adv_training,knn_relabel,outlier,sphere_slab,loss_trim,bagging,median,bit_depth,mean"
)


def size(arrays: dict[str, Any]) -> int:
    """Return the bytes of arrays."""
    return sum(array.nbytes for array in arrays.values())


class Noting:
    """Runs stages here, and notes what each took.

    Attributes
    ----------
    stages : list of dict
        ``key``, ``kind``, ``label``, ``needs`` (keys), ``seconds`` to compute it, ``bytes`` that it
        made, ``keeping``: seconds to keep it, ``weight``.
    """

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        """Run all stages of the queue."""
        while (planned := queue.take()) is not None:
            begin(planned.stage.label())
            inputs: Inputs = queue.inputs(planned)
            outcome = attempt(planned, inputs, context)
            assert outcome.made is not None, outcome.message
            start = time.perf_counter()
            ended = queue.end(outcome)
            self.stages.append(
                {
                    "key": planned.key, "kind": type(planned.stage).__name__,
                    "label": planned.stage.label(), "needs": sorted(planned.needs.values()),
                    "seconds": outcome.made.facts["seconds"], "bytes": size(outcome.made.arrays),
                    "keeping": time.perf_counter() - start,
                }
            )  # fmt: skip
            yield from ended


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--attacks", default=ATTACKS)
    parser.add_argument("--defenses", default=DEFENSES)
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    set_threads(1)
    noting = Noting()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        result = run_grid(
            attacks=asked.attacks, defenses=asked.defenses, dataset=asked.dataset, seed=0,
            repeats=asked.repeats, samples=asked.samples, output=folder, executor=noting,
        )  # fmt: skip
    document = {"environment": result.environment, "grid": result.grid, "stages": noting.stages}
    asked.output.write_text(json.dumps(document, indent=1) + "\n")
    print(
        f"{len(result.runs)} runs of cells, {len(noting.stages)} stages, "
        f"{sum(stage['seconds'] for stage in noting.stages):.1f} s"
    )


if __name__ == "__main__":
    main()
