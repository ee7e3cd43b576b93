"""A grid as a table with one row an image, cell and run, read a run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays
from fastadv.errors import InputError
from fastadv.grid.row import Row
from fastadv.grid.store import read_samples
from fastadv.grid.tidy import DISTANCES, Column, Table, array, other_distances

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult

_KINDS = {"float64": "f", "int64": "iu", "bool": "b"}  # of NumPy's types


@dataclass(frozen=True)
class Images:
    """The images of one run of a cell: its row, and what is kept of each of n images."""

    row: Row
    n: int
    arrays: Arrays

    def get(self, name: str, kind: str) -> npt.NDArray[Any] | None:
        """Return an array (n,) of one of NumPy's kinds; None if there is no such array."""
        found = self.arrays.get(name)
        if found is None or found.shape != (self.n,) or found.dtype.kind not in kind:
            return None
        return found


def _same(name: str, meaning: str, of: Callable[[Row], str]) -> Column[Images]:
    """Return a text that is that of the cell for all of its images."""
    return Column(name, "string", "", meaning, lambda images: of(images.row))


def _kept(name: str, dtype: Any, meaning: str, array: str, absent: Any = None,
          unit: str = "") -> Column[Images]:  # fmt: skip
    """Return what stands in the samples under a name; ``absent`` where there is no such array."""

    def values(images: Images) -> Any:
        found = images.get(array, _KINDS[dtype])
        return absent if found is None else found

    return Column(name, dtype, unit, meaning, values)


def _ids(images: Images) -> list[str]:
    return [f"0x{number:016x}" for number in images.arrays["sample_ids"].tolist()]


def _baseline(images: Images) -> Any:
    found = images.get("baseline", "b")
    return None if found is None else found.astype(np.float64)


# Other rows keep the certificates of the images of evasion attacks, which are not theirs.


def _certified(images: Images) -> Any:
    found = images.get("certified", "b") if images.row.kind == "evasion" else None
    return None if found is None else found.astype(np.float64)


def _radius(images: Images) -> Any:
    return images.get("certified_radius", "f") if images.row.kind == "evasion" else None


def distance(name: str, unit: str = "the attack's", meaning: str = "a distance of the attack's own"
             ) -> Column[Images]:  # fmt: skip
    """Return the column of a distance."""
    return _kept(f"distance_{name}", "float64", meaning, name, unit=unit)


SAMPLES: tuple[Column[Images], ...] = (
    _same("dataset", "as in the table of cells", lambda r: r.dataset),
    _same("model", "likewise", lambda r: r.model),
    _same("attack", "likewise", lambda r: r.attack),
    _same("defense", "likewise", lambda r: r.defense),
    _same("kind", "likewise", lambda r: r.kind),
    _same("run", "id of the run: its files are cells/ID.json and cells/ID.npz", lambda r: r.id),
    Column("seed", "int64", "", "of the run", lambda images: images.row.seed),
    Column("position", "int64", "", "of the image among those of the run, from 0 on: alike in all "
           "evasion cells of a grid, and in all others", lambda images: np.arange(images.n)),
    Column("image", "string", "", "hash of the image's pixels, the same in every cell and run",
           _ids),
    _kept("label", "int64", "the true class, numbered from 0 on", "y", unit="class"),
    _kept("clean", "int64", "what the defended model says, without attack or poison", "clean",
          unit="class"),
    _kept("attacked", "int64", "what it says under the attack, at any distance, or after training "
          "on poison; of a backdoor without the trigger", "attacked", unit="class"),
    _kept("robust", "bool", "right, and right under the attack within its budget; the mean over "
          "images, then over runs, is attacked_accuracy", "robust"),
    _kept("is_adv", "bool", "evasion: an adversarial image was found, at any distance", "is_adv",
          False),
    _kept("triggered", "int64", "backdoors: what the model says with the trigger on; -1 of others",
          "triggered", -1, unit="class"),
    Column("baseline_robust", "float64", "1 or 0",
           "poisoning: right after as many random flips (1) or not (0)", _baseline),
    Column("certified", "float64", "1 or 0", "evasion: certified to stay right within the threat "
           "of its row (1) or not (0)", _certified),
    Column("certified_radius", "float64", "of the threat", "evasion: largest distance that is "
           "certified", _radius),
    *(distance(*of) for of in DISTANCES),
)  # fmt: skip


def sample_table(result: GridResult) -> Table:
    """Return a row an image of each finished cell and run.

    Raises
    ------
    InputError
        Here if no folder is kept; from its chunks if the images of a run cannot be read: without
        them the rest would be another figure.
    """
    if result.folder is None:
        raise InputError("nothing is kept of single images; run the grid with an output folder")
    folder = result.folder
    done = [row for row in result.runs if row.status == "ok"]
    columns = (*SAMPLES, *map(distance, other_distances(done)))

    def chunks() -> Iterator[Arrays]:
        for row in done:
            images = _images(row, read_samples(folder, row.id))
            yield {c.name: _column(c, images) for c in columns}

    return Table(columns, chunks)


def _images(row: Row, arrays: Arrays | None) -> Images:
    """Return the images of a run; files are data from outside."""
    arrays = arrays or {}
    ids = arrays.get("sample_ids")
    if ids is not None and ids.shape == (row.n,) and ids.dtype.kind == "u":
        images = Images(row, row.n, arrays)
        needed = {"y": "iu", "clean": "iu", "attacked": "iu", "robust": "b"}
        if all(images.get(name, kind) is not None for name, kind in needed.items()):
            return images
    raise InputError(
        f"cells/{row.id}.npz cannot be read: the images of {row.attack}/{row.defense}, seed "
        f"{row.seed}"
    )


def _column(column: Column[Images], images: Images) -> npt.NDArray[Any]:
    """Return the values of a column, where one value stands for all images."""
    values = column.of(images)
    if isinstance(values, np.ndarray):
        return values.astype(column.dtype)
    if isinstance(values, list):
        return array(values, column.dtype)
    return array([values], column.dtype).repeat(images.n)
