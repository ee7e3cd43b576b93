"""Disks that fill up: ``python tests/robustness/full_disks.py --sizes 12``, as root.

A tmpfs of each of so many sizes holds the results, the kernels' cache or the temporary folder of a
grid. A run that it stops has to say so in one line with the folder's name, and may have written no
row of failure; with a larger tmpfs the same command goes on, with every row that was finished.
About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kills import GRID, kept_rows

LARGER = 400 << 20  # bytes


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Mount a tmpfs there for the block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LARGER}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder: Path, size: int) -> None:
    """Give a tmpfs so many bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def run(results: Path, temporary: Path, cache: Path, jobs: int) -> tuple[int, str]:
    """Run the grid; return its exit code and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "fastadv", *GRID, "--jobs", str(jobs), "--output", str(results)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "TMPDIR": str(temporary), "NUMBA_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return done.returncode, done.stderr


def partly_warm(cache: Path, warm: Path) -> None:
    """Copy compiled kernels, but for every third."""
    shutil.copytree(warm, cache, dirs_exist_ok=True)
    for folder in (cache / "fastadv").iterdir():
        for path in (*folder.glob("*.warm"), *sorted(folder.glob("*.nbc"))[::3]):
            path.unlink()


def used(folder: Path) -> int:
    """Return how many bytes of a tmpfs are taken, in whole pages."""
    return shutil.disk_usage(folder).used


def stopped_and_resumed(
    place: Path, what: str, share: float, jobs: int, warm: Path, undisturbed: Path
) -> tuple[bool, list[str]]:
    """Run on a disk of a share of what is needed, then on a larger one.

    Return whether the first one was stopped, and what was wrong.
    """
    folders = {name: place / name for name in ("results", "temporary", "cache")}
    full = folders[what]
    with disk(full):
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        if what == "cache":
            partly_warm(folders["cache"], warm)
        else:
            folders["cache"] = warm
        needed = {"results": _size(undisturbed), "temporary": 5 << 20, "cache": 6 << 20}[what]
        resize(full, used(full) + max(4096, int(share * needed)))
        code, said = run(*folders.values(), jobs)
        finished = {path: path.read_bytes() for path in (place / "results").rglob("cells/*.json")}
        faults = []
        lines = [line for line in said.splitlines() if line.startswith("fastadv: ")]
        if code and sum(str(full) in line for line in lines) != 1:
            faults.append(f"ended with {code} and does not name {full} in one line: {said}")
        if "Traceback" in said:
            faults.append(said)
        if any('"failed"' in path.read_text() for path in finished):
            faults.append("a row of failure")
        resize(full, LARGER)
        again, said_again = run(*folders.values(), jobs)
        if again:
            faults.append(f"does not go on: {said_again}")
        if any(path.read_bytes() != content for path, content in finished.items()):
            faults.append("a finished row is another one")
        if kept_rows(folders["results"]) != kept_rows(undisturbed):
            faults.append("its rows are others")
        left = [*folders["results"].rglob("*.fastadv-tmp"), *folders["temporary"].iterdir()]
        faults += [f"left {path}" for path in left]
    return code != 0, faults


def _size(folder: Path) -> int:
    """Return how many bytes a folder takes in pages of 4 kB, files and folders."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


def warmed(place: Path) -> tuple[Path, Path]:
    """Run the grid undisturbed; return the cache that it has filled, and its results."""
    warm, results, temporary = (place / name for name in ("warm", "undisturbed", "tmp"))
    temporary.mkdir()
    code, said = run(results, temporary, warm, 1)
    if code:
        sys.exit(said)
    return warm, results


def main() -> int:
    """Fill disks of so many sizes; print each fault; return 1 if there was one."""
    options = argparse.ArgumentParser()
    options.add_argument("--sizes", type=int, default=12)
    given = options.parse_args()
    wrong = stops = 0
    with tempfile.TemporaryDirectory() as folder:
        warm, undisturbed = warmed(Path(folder))
        for what in ("results", "temporary", "cache"):
            for size in range(given.sizes):
                place = Path(folder, f"{what}-{size}")
                place.mkdir()
                jobs = 2 if what == "temporary" else 1 + size % 2
                stopped, faults = stopped_and_resumed(
                    place, what, size / given.sizes, jobs, warm, undisturbed
                )
                stops += stopped
                for fault in faults:
                    wrong += 1
                    print(f"{what}, {size} of {given.sizes}: {fault}", flush=True)
    print(f"{3 * given.sizes} disks, {stops} stopped a run, {wrong} faults")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
