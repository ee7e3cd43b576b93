"""What an attack made of a row of a table: the columns that changed most, in the table's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays
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
    names = [visible(str(name)) for name in arrays["column_names"]]
    low, high = arrays["column_low"].astype(np.float64), arrays["column_high"].astype(np.float64)
    whole = arrays["column_whole"].astype(bool)
    before, after = before.astype(np.float64), after.astype(np.float64)
    if not {len(names)} == {len(low), len(high), len(whole), before.shape[1], after.shape[1]}:
        raise ValueError("columns and rows do not fit")
    return [
        _changes(names, low, high, whole, a, b) for a, b in zip(before, after, strict=False)
    ]  # fmt: skip


def _changes(
    names: Sequence[str],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    whole: npt.NDArray[np.bool_],
    before: npt.NDArray[np.float64],
    after: npt.NDArray[np.float64],
) -> Changes:
    moved = np.abs(after - before)
    order = np.argsort(-moved, kind="stable")
    n_changed = int(np.count_nonzero(moved))
    shown = []
    for j in order[: min(SHOWN, n_changed)]:
        span = high[j] - low[j]
        values = low[j] + before[j] * span, low[j] + after[j] * span
        texts = _texts(*values, span, whole=bool(whole[j]))
        shown.append(Change(names[j], *texts, (float(before[j]), float(after[j]))))
    return Changes(tuple(shown), n_changed, len(names))


def _texts(before: float, after: float, span: float, *, whole: bool) -> tuple[str, str]:
    """Return two values to a thousandth of the range, or finer where they would look alike."""
    digits = 0 if whole else max(0, int(np.ceil(3 - np.log10(span))))
    for more in range(4):
        texts = f"{before:,.{digits + more}f}", f"{after:,.{digits + more}f}"
        if texts[0] != texts[1] or whole:
            break
    return texts
