"""Rows that can exist: what attacks bring theirs back to, where columns are not free to change.

A row is brought back to the nearest one that its columns allow, within the attack's ball around the
row that it came from: fixed columns to their values, whole numbers to the nearest, or towards the
clean row where that would leave the ball, a one-hot group to the vertex of its largest value if the
ball reaches it, else to its own. What it then spends of an L2 ball on groups is taken from the
others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Mask
from fastadv.columns import Columns, Index

Rows = npt.NDArray[Any]

_ROUNDING = 1e-6  # of a budget: float32's, less than what `Threat.reach` allows


class Ball(NamedTuple):
    """How far a row may be from the one that it came from; ``eps`` None: anywhere."""

    norm: str = "linf"
    eps: float | None = None

    def reaches(self, change: float | Float64) -> Any:
        """Return whether so large a change of one column is within the ball."""
        return True if self.eps is None else change <= self.eps * (1.0 + _ROUNDING)

    @property
    def flips(self) -> int:
        """How many one-hot groups may change: two columns each, by 1."""
        if self.eps is None:
            return 2**31
        if self.norm == "linf":
            return 2**31 if self.reaches(1.0) else 0
        return int(self.eps**2 * (1.0 + _ROUNDING) / 2.0)


def movable(columns: Columns, ball: Ball) -> Mask:
    """Return which columns can change at all within the ball, (d,)."""
    free = np.ones(len(columns.names), dtype=bool)
    free[columns.held_places] = False
    places = columns.whole_places
    free[places] = ball.reaches(1.0 / _spans(columns, places))
    if ball.flips == 0:
        for group in columns.group_places:
            free[group] = False
    return free


def bring_back(columns: Columns, x: Rows, x_adv: Rows, ball: Ball) -> Rows:
    """Return ``x_adv`` (n, d), which lies in the ball around ``x``, as rows that can exist.

    A value of ``x`` that is itself none that can exist stays as it is, or becomes the nearest that
    can where there is no ball.
    """
    out = x_adv.copy()
    out[:, columns.held_places] = x[:, columns.held_places]
    flipped = _choose_vertices(columns, x, out, ball)
    places = columns.whole_places
    if ball.eps is None or ball.norm == "linf":
        _round(columns, places, x, out, ball)
        return out
    _scale(columns, x, out, ball.eps, flipped)
    exact = out.astype(np.float64)
    _round(columns, places, x, out, Ball())
    _towards_clean(columns, places, x, exact, out, ball.eps)
    return out


def _spans(columns: Columns, places: Index) -> Float64:
    low, high = columns.ends
    spans: Float64 = (high - low)[places]
    return spans


def _levels(columns: Columns, places: Index, rows: Rows) -> Float64:
    """Return the values of some columns in the units of the table, not rounded."""
    low = columns.ends[0][places]
    values: Float64 = low + rows[:, places].astype(np.float64) * _spans(columns, places)
    return values


def _of_levels(columns: Columns, places: Index, levels: Float64) -> Rows:
    """Return values in the units of the table as rows have them: float32, as they were read."""
    low = columns.ends[0][places]
    return ((levels - low) / _spans(columns, places)).astype(np.float32)


def _choose_vertices(columns: Columns, x: Rows, out: Rows, ball: Ball) -> Index:
    """Bring one-hot groups of ``out`` to vertices; return how many of each row changed, (n,)."""
    groups = columns.group_places
    rows, gains, wanted = np.arange(len(x)), np.zeros((len(x), len(groups))), []
    for k, group in enumerate(groups):
        clean = x[:, group].argmax(axis=1)
        own = out[rows, group[clean]].astype(np.float64)
        best = out[:, group].argmax(axis=1)
        gains[:, k] = out[rows, group[best]] - own
        wanted.append(np.where(gains[:, k] > 0, best, clean))
    rank = np.argsort(np.argsort(-gains, axis=1, kind="stable"), axis=1, kind="stable")
    flips = (gains > 0) & (rank < ball.flips)
    for k, group in enumerate(groups):
        vertex = np.zeros((len(x), len(group)), dtype=out.dtype)
        vertex[rows, wanted[k]] = 1.0
        stays = ~flips[:, k] & (ball.eps is not None)
        out[:, group] = np.where(stays[:, None], x[:, group], vertex)
    n_flips: Index = np.count_nonzero(flips, axis=1)
    return n_flips


def _round(columns: Columns, places: Index, x: Rows, out: Rows, ball: Ball) -> None:
    """Bring whole numbers of ``out`` to the nearest, within an Linf ball around ``x``."""
    levels = np.rint(_levels(columns, places, out))
    clean = np.rint(_levels(columns, places, x))
    if ball.eps is not None:
        most = np.floor(ball.eps * (1.0 + _ROUNDING) * _spans(columns, places))
        levels = np.clip(levels, clean - most, clean + most)
    low, high = columns.ends
    rounded = _of_levels(columns, places, np.clip(levels, low[places], high[places]))
    if ball.eps is not None:
        odd = _of_levels(columns, places, clean) != x[:, places]
        rounded = np.where(odd, x[:, places], rounded)
    out[:, places] = rounded


def _scale(columns: Columns, x: Rows, out: Rows, eps: float, flipped: Index) -> None:
    """Shorten the change of all but one-hot columns to what flips leave of an L2 ball."""
    others = np.ones(x.shape[1], dtype=bool)
    for group in columns.one_hot:
        others[list(group)] = False
    change = (out.astype(np.float64) - x) * others
    square = (change * change).sum(axis=1)
    long = np.flatnonzero(square > (eps * (1.0 + _ROUNDING)) ** 2 - 2.0 * flipped)
    if len(long):
        left = np.maximum(eps**2 - 2.0 * flipped[long], 0.0)
        share = (np.sqrt(left / square[long]) * (1.0 - _ROUNDING))[:, None]
        columns_of = np.flatnonzero(others)
        shorter = (x[long].astype(np.float64) + share * change[long])[:, columns_of]
        out[np.ix_(long, columns_of)] = shorter.astype(np.float32)


def _towards_clean(
    columns: Columns, places: Index, x: Rows, exact: Float64, out: Rows, eps: float
) -> None:
    """Round towards the clean row in rows of ``out`` that rounding took out of an L2 ball.

    Then away from it again the columns that are nearest to the next number, as far as the ball has
    room. ``exact`` are the rows before rounding.
    """
    budget = (eps * (1.0 + _ROUNDING)) ** 2
    rows = np.flatnonzero(_squares(x, out).sum(axis=1) > budget)
    if not len(rows):
        return
    x, exact, part = x[rows], exact[rows], out[rows]
    clean = np.rint(_levels(columns, places, x))
    odd = _of_levels(columns, places, clean) != x[:, places]
    moved = np.where(odd, 0.0, _levels(columns, places, exact) - clean)
    steps = np.trunc(moved)
    fraction = np.abs(moved - steps)

    def placed(steps: Float64) -> Rows:
        rounded = _of_levels(columns, places, clean + steps)
        return np.where(odd, x[:, places], rounded)

    part[:, places] = placed(steps)
    room = budget - _squares(x, part).sum(axis=1)
    more = np.where(fraction >= 0.5, 2.0 * np.abs(steps) + 1.0, np.inf)
    cost = more / _spans(columns, places) ** 2
    order = np.argsort(-fraction, axis=1, kind="stable")
    spent = np.cumsum(np.take_along_axis(cost, order, axis=1), axis=1)
    further = np.zeros(cost.shape, dtype=bool)
    np.put_along_axis(further, order, spent <= room[:, None], axis=1)
    part[:, places] = placed(steps + np.sign(moved) * further)
    out[rows] = part


def _squares(x: Rows, out: Rows) -> Float64:
    change: Float64 = out.astype(np.float64) - x
    return change * change
