"""Memory of a grid of many images: ``python tests/robustness/memory.py --images 200000``.

Test images are MNIST's, repeated with noise. The peak of what the process that attacks holds in
memory, its data left out, has to stay below ``--limit``, whatever the number of images. Needs
Linux's /proc. With 200,000 images: about ten minutes on two cores.

With the base packages alone fgsm takes 295 MB, pgd 296 and stadv 332; 176 of them are libraries that
are imported, and 70 more where scikit-learn finds pandas and pyarrow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from fastadv.specs import split_top_level

LIMIT = 300  # MB


def status(name: str) -> int:
    """Return a number of bytes that the system tells of this process: VmRSS, VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)


def run_one(attack: str, images: int, defenses: str, repeats: int) -> None:
    """Run a grid in this process, and print the peak beside the data, of this process alone."""
    from fastadv import load_dataset, run_grid
    from fastadv.datasets import Dataset
    from fastadv.datasets.dataset import ARRAYS
    from fastadv.errors import warnings_in_a_line

    small = load_dataset("mnist[train=2000,val=100,test=2000]")
    rng = np.random.default_rng(0)
    x_test = np.empty((images, small.x_test.shape[1]), dtype=np.float32)
    for start in range(0, images, 2000):
        part = x_test[start : start + 2000]
        part[:] = small.x_test[: len(part)]
        part += rng.uniform(0, 0.1, part.shape).astype(np.float32)
        np.clip(part, 0, 1, out=part)
    y_test = np.resize(small.y_test, images)
    data = Dataset(
        "many", small.x_train, small.y_train, small.x_val, small.y_val, x_test, y_test, small.task
    )
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    with tempfile.TemporaryDirectory() as folder, warnings_in_a_line():
        result = run_grid(
            attacks=attack, defenses=defenses, dataset=data, samples=images, repeats=repeats,
            jobs=1, output=folder,
        )  # fmt: skip
    failed = [row.reason for row in result if row.status != "ok"]
    if failed:
        sys.exit(f"{attack}: {failed}")
    print(status("VmHWM") - sum(getattr(data, name).nbytes for name in ARRAYS))


def beside_the_data(attack: str, images: int, defenses: str = "none", repeats: int = 1) -> float:
    """Return the peak of another process beside its data, in MB."""
    this = [sys.executable, __file__, "--one", attack, "--images", str(images)]
    done = subprocess.run(
        [*this, "--defenses", defenses, "--repeats", str(repeats)],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "FASTADV_THREADS": "2"},
    )  # fmt: skip
    return int(done.stdout) / 1e6


def main() -> int:
    """Print the peak of each attack; return 1 if one is above the limit."""
    options = argparse.ArgumentParser()
    options.add_argument("--images", type=int, default=200_000)
    options.add_argument("--attacks", default="fgsm,pgd,stadv[translation=false]")
    options.add_argument("--defenses", default="none")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--limit", type=float, default=LIMIT, help="MB")
    options.add_argument("--one", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        run_one(given.one, given.images, given.defenses, given.repeats)
        return 0
    peaks = {}
    for attack in split_top_level(given.attacks):
        peaks[attack] = beside_the_data(attack, given.images, given.defenses, given.repeats)
        print(f"{attack}: {peaks[attack]:.0f} MB beside the data", flush=True)
    above = [attack for attack, peak in peaks.items() if peak > given.limit]
    print(f"{len(peaks)} attacks on {given.images:,} images, {len(above)} above {given.limit:g} MB")
    return int(bool(above))


if __name__ == "__main__":
    sys.exit(main())
