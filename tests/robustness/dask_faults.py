"""A grid on a real Dask cluster that loses parts: ``python tests/robustness/dask_faults.py``.

A scheduler and three workers on this machine, each a process of its own in a folder of its own,
which has nothing of the grid's. Whatever is killed, and whenever, the rows have to be those of a
grid that ran in one process. A run prints each fault that it finds, and returns 1 if there was one.

``equal``        nothing is killed
``worker``       one worker is killed at a random moment, so many times over
``scheduler``    it is killed, and another one started: no finished row is computed again
``coordinator``  it is killed at a random moment, so many times, and started again
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kills import GRID, kept_rows

CELLS = [*GRID[:-1], "4"]  # 60 runs of cells
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass
class Place:
    """A scheduler and workers, with their folders."""

    folder: Path
    port: int = 0
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard",
            "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip

    def add_worker(self) -> None:
        folder = self.folder / f"worker{len(self.workers)}"
        folder.mkdir(exist_ok=True)
        self.workers.append(
            self._start(
                "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                "--local-directory", str(folder), "--death-timeout", "60", folder=folder,
            )
        )  # fmt: skip

    def _start(self, what: str, *words: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{what}"
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        known = {"PYTHONPATH": os.pathsep.join(paths)}  # `left` asks them by functions of this file
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words],
            cwd=folder or self.folder,
            **_QUIET,
            env={**os.environ, **known, "DASK_TEMPORARY_DIRECTORY": str(folder or self.folder)},
        )

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                process.wait()
        self.workers.clear()


@contextlib.contextmanager
def cluster(folder: Path, n_workers: int = 3) -> Iterator[Place]:
    """A scheduler and workers, for the block."""
    folder.mkdir()
    place = Place(folder)
    place.start_scheduler()
    try:
        for _ in range(n_workers):
            place.add_worker()
        yield place
    finally:
        place.stop()


def start(grid: list[str], results: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the coordinator."""
    return subprocess.Popen(
        [sys.executable, "-m", "fastadv", *grid, *words, "--output", str(results)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0,
    )  # fmt: skip


def ended(program: subprocess.Popen[bytes]) -> list[str]:
    """Wait for a coordinator; return what is wrong with how it ended."""
    _, errors = program.communicate()
    return [] if program.returncode == 0 else [errors.decode(errors="replace")[-2000:]]


def undisturbed(grid: list[str], results: Path) -> dict[str, object]:
    """Return the rows of the grid in one process."""
    faults = ended(start(grid, results, "--jobs", "1"))
    if faults:
        raise SystemExit(faults[0])
    return kept_rows(results)


def left(place: Place) -> list[str]:
    """Return what is left of a run on a cluster that is shared, some seconds after."""
    from distributed import Client

    with Client(place.address, timeout=20, set_as_default=False) as client:
        until = time.monotonic() + 10
        while True:
            found = [*client.run_on_scheduler(tasks), *processes_of(place)]
            for worker, held in client.run(holds).items():
                found += [f"{worker} holds {one}" for one in held]
            if not found or time.monotonic() > until:
                return found
            time.sleep(0.1)


def tasks(dask_scheduler: object = None) -> list[str]:
    """Return what a scheduler still knows of a grid."""
    state = dask_scheduler
    names = [*state.tasks, *state.worker_plugins, *state.plugins]  # type: ignore[attr-defined]
    return [str(name) for name in names if "fastadv" in str(name)]


def holds(dask_worker: object = None) -> list[str]:
    """Return what a worker still holds of a grid."""
    from fastadv.grid.executors import hired

    return [*map(str, dask_worker.data), *hired._hands]  # type: ignore[attr-defined]


def processes_of(place: Place) -> list[str]:
    """Return the processes of ours that the workers' processes have."""
    parents = {str(worker.pid) for worker in place.workers}
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[1] in parents:
                words = (path.parent / "cmdline").read_bytes()
                if b"remote:serve" in words:
                    found.append(f"process {path.parent.name}")
    return found


def equal(place: Place, grid: list[str], results: Path, rows: dict[str, object]) -> list[str]:
    """Run undisturbed, and see that the cluster is as it was before."""
    faults = ended(start(grid, results, "--dask", place.address))
    faults += left(place)
    if kept_rows(results) != rows:
        faults.append("its rows are others")
    strange = [
        path
        for path in place.folder.rglob("*")
        if path.suffix in (".json", ".npz", ".md") or "fastadv" in path.name
    ]
    return faults + [f"left {path}" for path in strange]


def worker_killed(
    place: Place, grid: list[str], results: Path, rows: dict[str, object], stages: int,
    which: int,
) -> list[str]:  # fmt: skip
    """Kill a worker when so many stages have come back; another one comes after the grid."""
    program = start(grid, results, "--dask", place.address)
    wait_for_a_stage(program, results, stages)
    early = program.poll() is not None
    place.workers[which].kill()
    place.workers.pop(which).wait()
    faults = ended(program)
    place.add_worker()
    if kept_rows(results) != rows:
        faults.append("its rows are others")
    return [*faults, "the grid had ended before the worker was killed"] if early else faults


def wait_for_a_stage(program: subprocess.Popen[bytes], results: Path, n: int = 1) -> None:
    """Wait until so many stages have come back from workers, or the run has ended."""
    path = results / "travels.jsonl"
    while program.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.05)


def scheduler_killed(
    place: Place, grid: list[str], results: Path, rows: dict[str, object], stages: int
) -> list[str]:
    """Kill the scheduler after so many stages; start another one, and the same command."""
    program = start(grid, results, "--dask", place.address)
    wait_for_a_stage(program, results, stages)
    assert place.scheduler is not None
    place.scheduler.kill()
    _, errors = program.communicate()
    said = errors.decode(errors="replace").strip().splitlines()[-1:]
    faults = []
    if program.returncode != 2 or "has gone" not in "".join(said):
        faults.append(f"code {program.returncode}, said {said}")
    done = {path: path.stat().st_mtime_ns for path in (results / "cells").glob("*.json")}
    place.stop()
    place.start_scheduler()
    for _ in range(3):
        place.add_worker()
    faults += ended(start(grid, results, "--dask", place.address))
    again = [path.name for path, at in done.items() if path.stat().st_mtime_ns != at]
    faults += [f"{name} was computed again" for name in again]
    if kept_rows(results) != rows:
        faults.append("its rows are others")
    return faults if done else [*faults, "no row was there when the scheduler was killed"]


def coordinator_killed(
    place: Place, grid: list[str], results: Path, rows: dict[str, object], moments: list[float]
) -> list[str]:
    """Kill the coordinator after each of so many seconds, then let it end."""
    for after in moments:
        program = start(grid, results, "--dask", place.address)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGKILL)
        program.communicate()
    faults = ended(start(grid, results, "--dask", place.address)) + left(place)
    if kept_rows(results) != rows:
        faults.append("its rows are others")
    return faults


def main() -> int:
    """Run the scenarios that were asked for; print each fault; return 1 if there was one."""
    options = argparse.ArgumentParser()
    options.add_argument("scenarios", nargs="*", default=[])
    options.add_argument("--workers-killed", type=int, default=10)
    options.add_argument("--coordinators-killed", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    wanted = given.scenarios or ["equal", "worker", "scheduler", "coordinator"]
    draw, wrong = random.Random(given.seed), 0

    def tell(what: str, faults: list[str]) -> None:
        nonlocal wrong
        wrong += len(faults)
        print(f"{what}: {'; '.join(faults) or 'equal'}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = undisturbed(CELLS, folder / "here")
        print(f"{len(rows)} rows", flush=True)
        with cluster(folder / "cluster") as place:
            if "equal" in wanted:
                tell("equal", equal(place, CELLS, folder / "equal", rows))
            for k in range(given.workers_killed if "worker" in wanted else 0):
                results, stages = folder / f"worker{k}", draw.randrange(1, 120)
                what = f"worker killed after {stages} stages"
                tell(what, worker_killed(place, CELLS, results, rows, stages, draw.randrange(3)))
                shutil.rmtree(results)
            if "scheduler" in wanted:
                stages = draw.randrange(40, 80)
                faults = scheduler_killed(place, CELLS, folder / "scheduler", rows, stages)
                tell(f"scheduler killed after {stages} stages", faults)
            if "coordinator" in wanted:
                moments = [draw.uniform(0, 20) for _ in range(given.coordinators_killed)]
                faults = coordinator_killed(place, CELLS, folder / "coordinator", rows, moments)
                tell(f"{len(moments)} kills of the coordinator", faults)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
