"""How far a grid is, for whoever looks at its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL_MLP, write_npz

from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.files import in_use, locked
from fastadv.grid.context import Context
from fastadv.grid.executors.base import Begin, Outcome, Queue
from fastadv.grid.executors.inline import Inline
from fastadv.grid.progress import SILENT
from fastadv.grid.run import run_grid
from fastadv.grid.status import STATUS, Reporting, Status, Written, read_status

ASKED: dict[str, Any] = {
    "attacks": "fgsm", "defenses": "none,median", "model": SMALL_MLP, "samples": 20, "repeats": 2,
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    return str(write_npz(tmp_path / "d.npz"))


class Watched:
    """Runs stages here, and calls ``look`` when each begins."""

    def __init__(self, look: Callable[[], None]) -> None:
        self.look = look

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        def beginning(label: str) -> None:
            begin(label)
            self.look()

        return Inline().run(queue, context, beginning)


def test_while_it_runs_and_after(dataset: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[Status] = []
    run_grid(
        dataset=dataset, output=out, executor=Watched(lambda: seen.append(read_status(out))),
        **ASKED,
    )  # fmt: skip
    assert all(status.alive for status in seen)
    assert [status.total for status in seen] == [8] * len(seen)
    assert [status.waiting for status in seen] == sorted((s.waiting for s in seen), reverse=True)
    assert seen[0].waiting == 8
    assert seen[0].left(seen[0].written.updated) is None  # nothing has ended yet
    assert seen[-1].left(seen[-1].written.updated) > 0
    labels = [running.label for status in seen for running in status.written.running]
    assert "fgsm: attacking none, seed 0" in labels
    after = read_status(out)
    assert not after.alive
    assert (after.waiting, after.counts) == (0, {"ok": 8})
    assert after.written.ended
    assert after.written.running == []


def test_a_run_that_ended_in_the_middle(dataset: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    stages = iter(range(100))

    def end() -> None:
        if next(stages) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_grid(dataset=dataset, output=out, executor=Watched(end), **ASKED)
    left = read_status(out).waiting
    assert 0 < left < 8
    assert main(["status", str(out)]) == 0
    told = capsys.readouterr()
    assert "8 runs: stopped" in told.out
    assert f"to come  {left}" in told.out
    assert "fastadv grid --attacks none,fgsm --defenses none,median" in told.err
    run_grid(dataset=dataset, output=out, **ASKED)
    assert main(["status", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["to_come"], document["running"]) == (8, 0, False)


def test_failures_are_listed(dataset: str, tmp_path: Path, capsys, monkeypatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ArithmeticError("\x1b[31mno")

    monkeypatch.setattr("fastadv.attacks.evasion.fgsm.FGSM.craft", fails)
    run_grid(dataset=dataset, output=tmp_path / "out", **ASKED)
    assert main(["status", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "failed: fgsm / median, seed 1" in told
    assert "\x1b[31m" not in told
    assert ": done" in told


def test_what_is_no_grid_is_a_line(tmp_path: Path, capsys) -> None:
    assert main(["status", str(tmp_path / "not there")]) == 2
    (tmp_path / "cells").mkdir()
    assert main(["status", str(tmp_path)]) == 2
    assert "is not the folder of a grid" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no folder"):
        read_status(tmp_path / "not there")


def test_a_damaged_status_is_none(dataset: str, tmp_path: Path) -> None:
    run_grid(dataset=dataset, output=tmp_path, **ASKED)
    (tmp_path / STATUS).write_bytes(b'{"started": "\xff')
    assert read_status(tmp_path).written is None


def test_looking_hinders_no_run(tmp_path: Path) -> None:
    assert in_use(tmp_path) is False
    with locked(tmp_path, ""):
        assert in_use(tmp_path) is True
        with pytest.raises(InputError, match="in use by another run"), locked(tmp_path, ""):
            pass
    assert in_use(tmp_path) is False


def test_writing_takes_a_fiftieth_of_the_time_at_most() -> None:
    now = [0.0]
    written: list[Written] = []

    def write(said: Written) -> None:
        written.append(said)
        now[0] += 0.01

    reporting = Reporting(SILENT, write, lambda: now[0])
    reporting.start(1.0, 1, 0)
    for _ in range(10_000):
        now[0] += 0.01
        reporting.begin("a stage")
        reporting.end("a stage", 1.0)
    assert 0.2 + 0.018 * now[0] < 0.01 * len(written) < 0.25 + 0.02 * now[0]
    slow = len(written)
    for _ in range(10):
        now[0] += 60
        reporting.begin("a long stage")
    assert len(written) == slow + 10
