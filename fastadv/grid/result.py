"""What a grid has found: its rows, and what follows from several of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import msgspec

from fastadv.arrays import Arrays
from fastadv.errors import InputError
from fastadv.files import read_plain
from fastadv.grid.row import Count, Positive, Row, Seed, decode_json, decode_row
from fastadv.grid.several import join, joined_samples
from fastadv.grid.store import SampleFiles
from fastadv.grid.trust.rows import flagged
from fastadv.grid.worst import Worst, worst_rows
from fastadv.specs import same_spec

if TYPE_CHECKING:
    from fastadv.grid.tidy import Table


class _Asked(msgspec.Struct, kw_only=True):
    """What is read of the spec in grid.json, with the types that it has to have."""

    attacks: list[str] = []
    defenses: list[str] = []
    dataset: str = ""
    model: str = ""
    samples: Count = 0
    repeats: Positive = 1
    seeds: list[Seed] = []
    given: dict[str, Any] = {}


@dataclass(frozen=True)
class GridResult(Sequence[Row]):
    """The rows of a grid, in its order: attack by attack, defense by defense.

    Attributes
    ----------
    rows : tuple of Row
        One a cell, over its runs.
    runs : tuple of Row
        One a cell and run, as they were measured.
    worst : tuple of Worst
        The worst case of each threat model and defense.
    grid : dict
        What was asked for, by the names of the flags; empty if that cannot be read.
    environment : dict
        What it ran on.
    folder : Path or None
        Where the samples of its cells are; None if nothing is kept.
    problems : tuple of str
        A line for each file that could not be used.
    others : int
        Cells that the folder keeps beside them, of other grids.
    files : SampleFiles
        What has been read of the samples.
    """

    rows: tuple[Row, ...]
    runs: tuple[Row, ...] = ()
    worst: tuple[Worst, ...] = ()
    grid: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    problems: tuple[str, ...] = ()
    others: int = 0
    files: SampleFiles = field(default_factory=SampleFiles, repr=False, compare=False)

    @classmethod
    def of(cls, runs: Sequence[Row], folder: Path, **rest: Any) -> GridResult:
        """Return the rows of runs with what they say together, by the samples in the folder."""
        result = cls((), tuple(runs), folder=folder, **rest)
        rows = tuple(flagged(join(runs, result.samples, len(result.grid.get("seeds", ())))))
        return replace(result, rows=rows, worst=tuple(worst_rows(rows, result.samples)))

    @classmethod
    def so_far(cls, runs: Sequence[Row]) -> GridResult:
        """Return the rows of runs of which some are to come, without what their images say."""
        rows = join(runs, lambda _: None)
        return cls(tuple(rows), tuple(runs))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def samples(self, row: Row) -> Arrays | None:
        """Return what is kept of each test image of a row; None if that cannot be read.

        Of a row over several runs they stand run by run, and ``run`` says of which.
        """
        folder, files = self.folder, self.files
        if folder is None:
            return None
        if not row.runs:
            return files.read(folder, row.id)
        return joined_samples([(run.seed, files.read(folder, run.id)) for run in row.runs])

    def to_frame(
        self, library: str | None = None, *, runs: bool = False, samples: bool = False
    ) -> Any:
        """Return a data frame with a row a cell; ``docs/guide/data-out.md`` has the columns.

        Parameters
        ----------
        library : str or None
            ``pandas`` or ``polars``. None: the one that is imported, or else installed.
        runs : bool
            A row a cell and run.
        samples : bool
            A row an image, cell and run.

        Returns
        -------
        pandas.DataFrame or polars.DataFrame
            Of the library that was chosen.

        Raises
        ------
        InputError
            If the library is not installed, or the images of a cell cannot be read.
        """
        from fastadv.grid.frame import frame

        return frame(self.table(runs=runs, samples=samples), library)

    def table(self, *, runs: bool = False, samples: bool = False) -> Table:
        """Return what ``to_frame`` makes a frame of, to be read a part at a time."""
        from fastadv.grid.tidy import cell_table, run_table
        from fastadv.grid.tidy_samples import sample_table

        if runs and samples:
            raise InputError("runs or samples: a row an image is of one run anyway")
        made = sample_table if samples else run_table if runs else cell_table
        return made(self)


def read_result(folder: Path | str) -> GridResult:
    """Read ``grid.json`` and its finished cells; other grids may have left cells beside them.

    Parameters
    ----------
    folder : str or Path
        The ``output`` of a grid.

    Returns
    -------
    GridResult
        Of the grid that ran there last.

    Raises
    ------
    InputError
        If this is not the folder of a grid.
    """
    result = read_runs(folder)
    if not any((Path(folder) / "cells").glob("*.json")):
        inside = sorted(str(file.parent) for file in Path(folder).glob("*/grid.json"))
        several = f"; it holds grids: {', '.join(inside)}" if inside else ""
        raise InputError(f"{folder} holds no finished cell of a grid (cells/ID.json){several}")
    return GridResult.of(
        result.runs, Path(folder), grid=result.grid, environment=result.environment,
        problems=result.problems, others=result.others,
    )  # fmt: skip


def read_runs(folder: Path | str) -> GridResult:
    """Return the runs alone of what `read_result` reads: without rows, and without their images.

    There may be none yet.

    Raises
    ------
    InputError
        If this is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    problems: list[str] = []
    document = _read_document(folder / "grid.json", problems)
    grid, environment = document.get("grid", {}), document.get("environment", {})
    latest: dict[tuple[object, ...], Row] = {}
    others = 0
    for path in sorted((folder / "cells").glob("*.json"), key=_changed):
        row = _read_row(path, problems)
        if row is None:
            continue
        if not _belongs(row, grid):
            others += 1
        else:
            cell = row.dataset, row.model, row.attack, row.defense, row.seed
            latest[cell] = row  # of two versions of the package, the one that ran last
    runs = tuple(_ordered(latest.values(), grid))
    return GridResult(
        (), runs, grid=grid, environment=environment, folder=folder, problems=tuple(problems),
        others=others,
    )  # fmt: skip


def _changed(path: Path) -> float:
    """Return when a file was last written; 0 of a link that leads nowhere."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read_document(path: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    try:
        document = msgspec.convert(decode_json(read_plain(path)), dict[str, dict[str, Any]])
        msgspec.convert(document.get("grid", {}), _Asked)
        return document
    except FileNotFoundError:
        problems.append("grid.json is not there; every cell of the folder is shown")
    except (OSError, msgspec.MsgspecError) as error:
        problems.append(f"grid.json could not be read, every cell is shown ({_one_line(error)})")
    return {}


def _read_row(path: Path, problems: list[str]) -> Row | None:
    name = f"cells/{path.name}"
    try:
        row = decode_row(read_plain(path))
    except (OSError, msgspec.MsgspecError) as error:
        problems.append(f"{name} could not be read and is left out ({_one_line(error)})")
        return None
    if row.id != path.stem:
        problems.append(f"{name} holds the cell {row.id} and is left out")
        return None
    return row


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _belongs(row: Row, grid: dict[str, Any]) -> bool:
    """Return whether the grid has this cell; one that cannot be read has any."""
    axes = {"attacks": row.attack, "defenses": row.defense, "seeds": row.seed}
    if any(key in grid and value not in grid[key] for key, value in axes.items()):
        return False
    names = {"dataset": row.dataset, "model": row.model}
    if any(key in grid and not same_spec(value, grid[key]) for key, value in names.items()):
        return False
    given = grid.get("given", {}).get("identity")  # models of one name may differ
    if "model" in grid and row.parameters.get("model", {}).get("identity") != given:
        return False
    if row.kind != "evasion" and row.certified is None:
        return True  # on all images, or on none
    k, shares = row.dealt
    if shares != grid.get("repeats", shares):  # of fastadv 0.1 each run has all images
        return False
    images = range(k, grid.get("samples", row.n * shares), shares)
    n = row.certified.accuracy.n_images if row.certified is not None else row.n
    return row.status != "ok" or n == len(images)


def _ordered(rows: Iterable[Row], grid: dict[str, Any]) -> list[Row]:
    """Return the rows in the order of the axes; what is not on them comes last."""
    attacks, defenses = grid.get("attacks", []), grid.get("defenses", [])

    def place(row: Row) -> tuple[int, ...]:
        return _index(attacks, row.attack), _index(defenses, row.defense), row.seed

    return sorted(rows, key=place)


def _index(axis: list[str], name: str) -> int:
    return axis.index(name) if name in axis else len(axis)
