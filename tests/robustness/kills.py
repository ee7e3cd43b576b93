"""``kill -9`` at many moments of a grid: ``python tests/robustness/kills.py --moments 200``.

A run is killed, by its own process or with its workers, and started again, until it comes to its
end. Its rows have to be those of a run that nothing disturbed, and once it has ended nothing of the
killed ones may be left in the temporary folder or, half written, in the results folder. Half an hour
on two cores with 200 moments.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

GRID = ["grid", "--attacks", "fgsm,pgd[steps=5],label_flip,train_noise", "--defenses",
        "none,median,bit_depth", "--dataset", "mnist[train=1000,val=100,test=300]",
        "--samples", "100", "--repeats", "2"]  # fmt: skip


def start(results: Path, temporary: Path, jobs: int) -> subprocess.Popen[bytes]:
    """Start the grid with a temporary folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "fastadv", *GRID, "--jobs", str(jobs), "--output", str(results)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip


def kept_rows(results: Path) -> dict[str, object]:
    """Return what a folder says of each cell and run, but for times."""
    rows = {}
    for path in (results / "cells").glob("*.json"):
        row = msgspec.json.decode(path.read_bytes())
        rows[path.stem] = {name: value for name, value in row.items() if name != "seconds"}
    return rows


def killed_and_resumed(place: Path, jobs: int, moments: list[float]) -> tuple[Path, list[str], int]:
    """Kill a grid after each of so many seconds, then let it end.

    Return its folder, what was wrong, and how many of the kills came before its end.
    """
    hits = 0
    results, temporary = place / "results", place / "tmp"
    temporary.mkdir()
    for number, after in enumerate(moments):
        program = start(results, temporary, jobs)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(after)
        hits += program.returncode is None
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number % 2 else os.kill)(program.pid, signal.SIGKILL)
        program.communicate()
    last = start(results, temporary, jobs)
    _, errors = last.communicate()
    faults = [] if last.returncode == 0 else [errors.decode(errors="replace")]
    until = time.monotonic() + 5  # workers of the killed ones see that their parent has ended
    while (left := list(temporary.iterdir())) and time.monotonic() < until:
        time.sleep(0.05)
    half = list(results.rglob("*.fastadv-tmp"))
    return results, faults + [f"left {path}" for path in (*left, *half)], hits


def main() -> int:
    """Kill at so many moments, ten a run; print each fault; return 1 if there was one."""
    options = argparse.ArgumentParser()
    options.add_argument("--moments", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    draw, wrong = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        begun = time.monotonic()
        undisturbed, faults, hits = killed_and_resumed(place, 1, [])
        whole = time.monotonic() - begun
        rows = kept_rows(undisturbed)
        shutil.rmtree(place / "tmp")
        for run in range(given.moments // 10):
            again = place / str(run)
            again.mkdir()
            moments = [draw.uniform(0, whole) for _ in range(10)]
            results, faults, hit = killed_and_resumed(again, 1 + run % 2, moments)
            hits += hit
            if kept_rows(results) != rows:
                faults.append("its rows are others")
            for fault in faults:
                wrong += 1
                print(f"run {run}: {fault}", flush=True)
            shutil.rmtree(again)
    print(
        f"{hits} kills of a grid of {len(rows)} runs, and {given.moments - hits} after its end, "
        f"{wrong} faults"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
