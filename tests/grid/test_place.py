"""No space, no right, a folder that has gone: they end the run in a line, and are no results."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL_MLP, write_npz

from fastadv.datasets.memory import total_memory
from fastadv.errors import InputError
from fastadv.grid import memory
from fastadv.grid.executors import processes
from fastadv.grid.executors.base import Queue
from fastadv.grid.executors.dask import Dask
from fastadv.grid.failures import of_the_place
from fastadv.grid.run import run_grid
from fastadv.grid.stages.evaluation import Perturb
from fastadv.grid.stages.training import Fit

FULL = OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file")
GOES_ON = "what is done is kept, and the same command goes on when it can"


def grid(tmp_path: Path, **changes: Any) -> Any:
    if not (tmp_path / "d.npz").exists():
        write_npz(tmp_path / "d.npz")
    asked = {"attacks": "fgsm", "defenses": "none,median", "samples": 20, "repeats": 1}
    return run_grid(
        **{**asked, **changes}, dataset=tmp_path / "d.npz", model=SMALL_MLP, output=tmp_path / "o"
    )


def kept_rows(tmp_path: Path) -> str:
    return "".join(path.read_text() for path in (tmp_path / "o" / "cells").glob("*.json"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FULL, "/elsewhere: No space left on device; make room there"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a/b"), "/a: Disk quota exceeded"),
        (OSError(errno.ENOSPC, "No space left on device"), "(TMPDIR), probably: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "/a/b: Read-only file system"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/gone/b"), "/gone: the folder has gone"),
        (FileNotFoundError(errno.ENOENT, "No usable folder in ['/a']"), "No usable folder"),
    ],
)  # fmt: skip
def test_what_is_of_the_place_names_the_folder(error: OSError, line: str) -> None:
    said = of_the_place(error)
    assert said is not None
    assert line in said


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "/no-such-file"),  # in a folder that is there
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), TimeoutError(),
        MemoryError(), ValueError("No space left on device"), InputError("no"),
    ],
)  # fmt: skip
def test_what_one_cell_alone_meets_is_not(error: Exception) -> None:
    assert of_the_place(error) is None


@pytest.mark.parametrize("done", [0, 1])
def test_a_full_disk_inside_a_stage_stops_the_run_and_is_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    compute, runs = Perturb.compute, 0

    def full(self: Perturb, *given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > done:
            raise FULL
        return compute(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Perturb, "compute", full)
        with pytest.raises(InputError) as error:
            grid(tmp_path)
    assert str(error.value).endswith(
        f"/elsewhere: No space left on device; make room there; {GOES_ON}"
    )
    assert "failed" not in kept_rows(tmp_path)
    assert [row.status for row in grid(tmp_path)] == ["ok"] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "line"),
    [("on_a_full_disk", "/elsewhere: No space left"), ("without_its_data", "no shared dataset")],
)
def test_a_fault_of_the_place_in_a_worker_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, line: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_SERVE", f"dying:{how}")
        with pytest.raises(InputError, match=line) as error:
            grid(tmp_path, jobs=2)
    assert str(error.value).endswith(GOES_ON)
    assert kept_rows(tmp_path) == ""
    assert [row.status for row in grid(tmp_path)] == ["ok"] * 4


def test_a_fault_of_the_place_in_planning_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise FULL

    monkeypatch.setattr(Perturb, "identity", full)
    with pytest.raises(InputError, match="make room there"):
        grid(tmp_path)


@pytest.mark.parametrize("part", ["", "stages", "cells"])
def test_a_folder_that_goes_while_a_grid_runs_ends_it_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    compute = Perturb.compute

    def remove(self: Perturb, *given: Any) -> Any:
        shutil.rmtree(tmp_path / "o" / part)
        return compute(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Perturb, "compute", remove)
        with pytest.raises(
            InputError, match="goes on when it can" if part else "has gone"
        ) as error:
            grid(tmp_path)
    assert str(tmp_path / "o") in str(error.value)
    assert [row.status for row in grid(tmp_path)] == ["ok"] * 4


@pytest.mark.slow
def test_a_process_that_was_killed_between_two_stages_costs_none_of_them_a_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is idle can be killed as well: its next stage has not run."""
    give, end, killed, ended = processes.Processes._give, Queue.end, [], []

    def killing(self: Any, queue: Any, workers: Any, start: Any, begin: Any) -> None:
        for worker in workers:
            if worker.planned is None and not killed:
                killed.append(worker)
                worker.process.kill()
                worker.process.wait()
        give(self, queue, workers, start, begin)

    def ending(self: Queue, outcome: Any) -> Any:
        ended.append(outcome.status)
        return end(self, outcome)

    monkeypatch.setattr(processes.Processes, "_give", killing)
    monkeypatch.setattr(Queue, "end", ending)
    assert [row.status for row in grid(tmp_path, jobs=2)] == ["ok"] * 4
    assert killed
    assert set(ended) == {"ok"}


@pytest.mark.parametrize(
    ("jobs", "dask"), [(1, None), (2, None), (3, "local[3]"), (1, "tcp://a:1")]
)
def test_a_grid_that_does_not_fit_into_memory_is_told_so_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, dask: str | None
) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 200_000_000)
    monkeypatch.setattr(Fit, "compute", None)
    with pytest.raises(InputError) as error:
        grid(tmp_path, **({"executor": Dask(dask)} if dask else {"jobs": jobs}))
    for figure in (f"{jobs * 300} MB of memory", f"each of {jobs} processes", "200 MB", "--jobs"):
        assert figure in str(error.value)


def test_a_container_has_its_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastadv.datasets.memory._CONTAINER", tmp_path / "memory.max")
    whole = total_memory()
    for text, seen in (("12345678\n", 12345678), ("max\n", whole), (f"{1 << 60}\n", whole)):
        (tmp_path / "memory.max").write_text(text)
        assert total_memory() == seen


def test_a_temporary_folder_that_is_too_small_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr("fastadv.grid.run.warm_up", None)
    with pytest.raises(InputError, match=r"10 bytes are free, .* set TMPDIR .* or use --jobs 1"):
        grid(tmp_path, jobs=2)


def test_no_temporary_folder_at_all_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"cannot make a temporary folder .* set TMPDIR"):
        run_grid(
            attacks="none", defenses="none", dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP,
            samples=20, repeats=1,
        )  # fmt: skip
