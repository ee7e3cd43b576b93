"""How far a grid is, for whoever looks at its folder from outside: `Reporting`, `read_status`.

What is done is told by the rows. What runs now only the run itself knows: it leaves that in
``status.json`` whenever a stage begins, as long as this takes no more than a fiftieth of its time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fastadv.errors import InputError
from fastadv.files import in_use, read_plain
from fastadv.grid.progress import GridProgress
from fastadv.grid.result import read_runs
from fastadv.grid.row import Row, decode_json

STATUS = "status.json"
_SHARE, _AHEAD = 0.02, 0.2  # of the time, and seconds beyond it, that may go into writing


class Running(msgspec.Struct):
    """A stage that runs: what it does, and since when (seconds of the epoch)."""

    label: str
    since: float


class Written(msgspec.Struct):
    """What a run leaves of itself in its folder.

    Attributes
    ----------
    started, updated : float
        Seconds of the epoch.
    left : float or None
        About how many seconds the rest takes, from ``updated``.
    kept : int
        How many runs of cells an earlier run had left.
    compiling : str or None
        The kernels that are compiled now.
    ended : bool
        All is done, or it was stopped in order.
    """

    started: float
    updated: float
    left: float | None = None
    kept: int = 0
    running: list[Running] = []
    compiling: str | None = None
    ended: bool = False


@dataclass(frozen=True)
class Status:
    """How far a grid is.

    Attributes
    ----------
    grid : dict
        What was asked for, by the names of the flags.
    total : int
        Runs of cells in all.
    counts : dict of int
        Runs of cells by their status: ``ok``, ``skipped``, ``failed``, ``timeout``.
    failed : tuple of Row
        Those that have failed or took too long.
    alive : bool or None
        Whether a run has the folder now; None where that cannot be told.
    written : Written or None
        What the last run has left of itself; None if there is nothing of the kind.
    """

    grid: dict[str, Any]
    total: int
    counts: dict[str, int]
    failed: tuple[Row, ...]
    alive: bool | None
    written: Written | None

    @property
    def waiting(self) -> int:
        """How many runs of cells are to come; what runs now is among them."""
        return max(0, self.total - sum(self.counts.values()))

    def left(self, now: float) -> float | None:
        """Return about how many seconds the rest takes, if it runs and that is known."""
        if self.written is None or self.written.left is None or self.alive is False:
            return None
        return max(0.0, self.written.left - (now - self.written.updated))


def read_status(folder: Path | str) -> Status:
    """Return how far the grid of a folder is, while it runs or after.

    Raises
    ------
    InputError
        If it is not the folder of a grid.
    """
    folder = Path(folder)
    alive = in_use(folder) if folder.is_dir() else False
    result = read_runs(folder)
    axes = [result.grid.get(name) for name in ("attacks", "defenses", "seeds")]
    if not all(isinstance(axis, list) for axis in axes):
        raise InputError(f"{folder} is not the folder of a grid (grid.json)")
    total = 1
    for axis in axes:
        total *= len(axis or ())
    failed = tuple(row for row in result.runs if row.status in ("failed", "timeout"))
    counts = Counter(row.status for row in result.runs)
    return Status(result.grid, total, dict(counts), failed, alive, _read(folder / STATUS))


def _read(path: Path) -> Written | None:
    try:
        return msgspec.convert(decode_json(read_plain(path)), Written)
    except (OSError, msgspec.MsgspecError):
        return None


class Reporting:
    """A grid's progress that leaves word in the folder, and goes on to ``progress``.

    Parameters
    ----------
    progress : GridProgress
        Where all is handed on to.
    write : callable
        Writes a `Written`.
    clock : callable
        Seconds of the epoch.
    """

    def __init__(
        self, progress: GridProgress, write: Callable[[Written], None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._progress, self._write, self._clock = progress, write, clock
        self._spent = 0.0  # seconds, on writing
        self._said = Written(clock(), clock())
        self._running: dict[str, float] = {}

    def start(self, total: float, cells: int, kept: int) -> None:
        """Say that so much is to be done."""
        self._progress.start(total, cells, kept)
        self._said.kept, self._said.compiling = kept, None
        self._leave(at_once=True)

    def begin(self, label: str) -> None:
        """Say that a stage begins."""
        self._progress.begin(label)
        self._running[label] = self._clock()
        self._leave()

    def advance(self, weight: float) -> None:
        """Say that so much is done."""
        self._progress.advance(weight)

    def end(self, label: str, left: float) -> None:
        """Say that a stage has ended, and how long the rest takes."""
        self._progress.end(label, left)
        self._running.pop(label, None)
        self._said.left = left if left < float("inf") else None

    def rows(self, runs: Sequence[Row]) -> None:
        """Say what is known so far; the folder has it already."""
        self._progress.rows(runs)

    def note(self, text: str) -> None:
        """Say a line."""
        self._progress.note(text)

    def compiling(self, name: str, done: int, total: int) -> None:
        """Say what is compiled."""
        self._progress.compiling(name, done, total)
        self._said.compiling = name if done < total else None
        self._leave()

    def stop(self) -> None:
        """Say that nothing more comes."""
        self._progress.stop()
        if not self._said.ended:
            self._said.ended, self._said.compiling = True, None
            self._running.clear()
            self._leave(at_once=True)

    def _leave(self, at_once: bool = False) -> None:
        began = self._clock()
        if at_once or self._spent <= _AHEAD + _SHARE * (began - self._said.started):
            self._said.updated = began
            self._said.running = [Running(*one) for one in self._running.items()]
            self._write(self._said)
            self._spent += self._clock() - began
