"""What the cells of a grid have kept to look at: attacked images and poison points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastadv.report.changes import Changes, of_rows

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Row

_SHOWN = 8  # images a cell
_NONE: list[Changes | None] = [None] * _SHOWN


@dataclass(frozen=True)
class Picture:
    """One image, (H, W, C) in [0, 1], and what became of it.

    Attributes
    ----------
    before : ndarray or None
        The image before the attack; None for a poison point.
    label : str
        The true class; of a poison point the one that it is given.
    said : tuple of str or None
        What the defended model says before and after.
    distance : float or None
        How far the attacked image is from the one before, in the distance that the budget bounds.
    changes : Changes or None
        Of a row of a table: what is to be shown in place of an image.
    """

    after: npt.NDArray[Any]
    label: str
    before: npt.NDArray[Any] | None = None
    said: tuple[str, str] | None = None
    distance: float | None = None
    changes: Changes | None = None


@dataclass(frozen=True)
class Gallery:
    """The pictures of one cell."""

    attack: str
    defense: str
    kind: str
    pictures: tuple[Picture, ...]


def galleries(result: GridResult) -> list[Gallery]:
    """Return for each attack the pictures of its first cell that has kept any."""
    found: dict[str, Gallery] = {}
    for row in result.rows:
        if row.kind == "none" or row.status != "ok" or row.attack in found:
            continue
        shown = pictures(row, result.samples(row) or {})
        if shown:
            found[row.attack] = Gallery(row.attack, row.defense, row.kind, shown)
    return list(found.values())


def pictures(row: Row, arrays: dict[str, npt.NDArray[Any]]) -> tuple[Picture, ...]:
    """Return the first pictures that a cell has kept among its samples; none of the clean row.

    Files are data from outside: what does not hold images of one size has none.
    """
    if row.kind == "none":
        return ()
    try:
        shape, name = arrays.get("image_shape"), _namer(arrays)
        if row.kind == "poisoning":
            points = _images(arrays["poison"], shape)
            labels = arrays["poison_labels"]
            origins = arrays.get("poison_origins", arrays["poison"])
            told = of_rows(arrays, origins[:_SHOWN], arrays["poison"][:_SHOWN])
            return tuple(
                Picture(point, name(label), changes=changes)
                for point, label, changes in zip(points, labels, told or _NONE, strict=False)
            )
        told = of_rows(arrays, arrays["examples"][:_SHOWN], arrays["examples_adv"][:_SHOWN])
        before = _images(arrays["examples"], shape)
        after = _images(arrays["examples_adv"], shape)
        bound = row.threat.distance if row.threat is not None else None
        moved = [float(x) for x in arrays[bound][:_SHOWN]] if bound in arrays else [None] * _SHOWN
        facts = zip(arrays["y"], arrays["clean"], arrays["attacked"], moved, strict=False)
        return tuple(
            Picture(a, name(label), b, (name(said), name(now)), distance, changes)
            for b, a, (label, said, now, distance), changes in zip(
                before, after, facts, told or _NONE, strict=False
            )
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return ()


def _namer(arrays: dict[str, npt.NDArray[Any]]) -> Callable[[Any], str]:
    """Return what turns a label into the name of its class, where the names are kept."""
    names = [str(name) for name in arrays.get("class_names", ())]
    return lambda label: names[int(label)] if 0 <= int(label) < len(names) else str(int(label))


def _images(rows: npt.NDArray[Any], shape: npt.NDArray[Any] | None) -> npt.NDArray[np.float64]:
    """Return the first rows as images (n, H, W, C); square and grey where no shape is kept."""
    rows = np.asarray(rows[:_SHOWN], dtype=np.float64)
    n, d = rows.shape
    side = math.isqrt(d)
    height, width, channels = (side, side, 1) if shape is None else (int(size) for size in shape)
    if channels not in (1, 3):
        raise ValueError(f"images of {channels} channels cannot be shown")
    return rows.reshape(n, height, width, channels)
