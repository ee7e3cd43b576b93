"""What an attack made of a row of a table: the columns that changed most, in the table's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays, Float64
from fastadv.columns import Columns
from fastadv.visible import visible

SHOWN = 5  # columns of a row


@dataclass(frozen=True)
class Change:
    """One column of a row.

    Attributes
    ----------
    name : str
    before, after : str
        In the units of the table, with as many digits as tell them apart.
    places : (float, float)
        Where they are between the ends of the column's range, from 0 to 1.
    """

    name: str
    before: str
    after: str
    places: tuple[float, float]


@dataclass(frozen=True)
class Changes:
    """The columns of a row that changed most, the largest change first.

    Attributes
    ----------
    columns : tuple of Change
    n_changed, n_columns : int
        How many changed at all, and how many there are.
    """

    columns: tuple[Change, ...]
    n_changed: int
    n_columns: int

    @property
    def said(self) -> str:
        """How many columns changed, and that only some are shown."""
        if not self.n_changed:
            return f"none of {self.n_columns:,} columns changed"
        some = f", the {len(self.columns)} most" if len(self.columns) < self.n_changed else ""
        return f"{self.n_changed:,} of {self.n_columns:,} columns changed{some}"


def of_rows(
    arrays: Arrays, before: npt.NDArray[Any], after: npt.NDArray[Any]
) -> list[Changes] | None:
    """Return the changes of rows (n, d) from 0 to 1; None of images.

    Files are data from outside: ValueError where what is kept does not fit the rows.
    """
    if "column_names" not in arrays:
        return None
    names = tuple(visible(str(name)) for name in arrays["column_names"])
    low, high = (arrays[key].astype(np.float64) for key in ("column_low", "column_high"))
    whole = arrays["column_whole"].astype(bool)
    before, after = before.astype(np.float64), after.astype(np.float64)
    if not {len(names)} == {len(low), len(high), len(whole), before.shape[1], after.shape[1]}:
        raise ValueError("columns and rows do not fit")
    places = tuple(np.flatnonzero(whole).tolist())
    columns = Columns(names, tuple(low), tuple(high), whole=places)
    return [_changes(columns, a, b) for a, b in zip(before, after, strict=False)]


def _changes(columns: Columns, before: Float64, after: Float64) -> Changes:
    """Return the changes of a row (d,) from 0 to 1."""
    moved = np.abs(after - before)
    order = np.argsort(-moved, kind="stable")
    n_changed = int(np.count_nonzero(moved))
    was, now = columns.in_units(np.stack([before, after]))
    low, high = columns.ends
    shown = []
    for j in order[: min(SHOWN, n_changed)]:
        texts = _texts(was[j], now[j], high[j] - low[j], whole=j in columns.whole)
        shown.append(Change(columns.names[j], *texts, (float(before[j]), float(after[j]))))
    return Changes(tuple(shown), n_changed, len(columns.names))


def _texts(before: float, after: float, span: float, *, whole: bool) -> tuple[str, str]:
    """Return two values to a thousandth of the range, or finer where they would look alike."""
    digits = 0 if whole else max(0, int(np.ceil(3 - np.log10(span))))
    for more in range(4):
        texts = f"{before:,.{digits + more}f}", f"{after:,.{digits + more}f}"
        if texts[0] != texts[1] or whole:
            break
    return texts
