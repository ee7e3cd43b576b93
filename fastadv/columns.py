"""Columns of a table that are no pixels: their names, what 0 and 1 stand for, what they may be."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Float64
from fastadv.errors import InputError
from fastadv.specs import closest

Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ColumnRules:
    """What a user says of the columns of a table, by their names.

    Parameters
    ----------
    names : sequence of str
        Of all columns of an array, such as those of a data frame; 1, 2, ... without them. A file
        has its own.
    drop : sequence of str
        Columns that are left out.
    fixed : sequence of str
        Columns that no attack may change: of a poison point they are those of the row that it
        started as.
    whole : sequence of str, optional
        Columns that stay whole numbers. Unless given, all that hold nothing else.
    one_hot : sequence of str or of sequences of str
        Groups of columns of which exactly one is 1 and the others are 0, and stay so. A text is
        what their names begin with: ``color`` stands for ``color=red``, ``color=blue`` or for
        ``color_red``, ``color_blue``. Or the names of a group.
    low, high : mapping of str to float
        What 0 and 1 stand for, in place of the least and the largest value of the training rows.
    """

    names: Sequence[str] = ()
    drop: Sequence[str] = ()
    fixed: Sequence[str] = ()
    whole: Sequence[str] | None = None
    one_hot: Sequence[str | Sequence[str]] = ()
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)

    def applied(
        self, arrays: Mapping[str, npt.NDArray[Any]], where: str
    ) -> tuple[dict[str, npt.NDArray[Any]], ColumnRules]:
        """Return arrays ``x_train``, ... (n, d) without what is dropped, and rules with names."""
        n_columns = arrays["x_train"].shape[1]
        names = [str(name) for name in self.names] or [str(i + 1) for i in range(n_columns)]
        dropped = [_place(name, names, f"{where}: drop") for name in self.drop]
        kept = {
            key: np.delete(array, dropped, axis=1)
            if key.startswith("x_") and array.shape[1:] == (len(names),)
            else array
            for key, array in arrays.items()
        }
        left = [name for place, name in enumerate(names) if place not in dropped]
        return kept, replace(self, names=left, drop=())

    def groups(self, where: str) -> tuple[tuple[int, ...], ...]:
        """Return the places of the columns of each one-hot group among the names.

        Raises
        ------
        InputError
            If a group has fewer than two columns, one that is not there, or one of another group.
        """
        found = tuple(_group(said, self.names, where) for said in self.one_hot)
        places = [place for group in found for place in group]
        for place in places:
            if places.count(place) > 1:
                raise InputError(f"{where}: column {self.names[place]!r} is in two one-hot groups")
        return found


@dataclass(frozen=True)
class Columns:
    """The columns of a table, each scaled by its own range.

    A budget of 0.1 is a tenth of that range, in every column.

    Parameters
    ----------
    names : tuple of str
    low, high : tuple of float
        What 0 and 1 stand for, in the units of the table.
    fixed, whole : tuple of int
        The places of columns that attacks may not change, and that stay whole numbers.
    one_hot : tuple of tuple of int
        The places of groups of columns of which one is 1 and the others 0.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    fixed: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()
    one_hot: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(
        cls, parts: Mapping[str, npt.NDArray[np.floating]], rules: ColumnRules, where: str
    ) -> Columns:
        """Measure the range of each column in the training rows, and check what is said of them.

        Parameters
        ----------
        parts : mapping of ndarray of shape (n, d)
            All rows; those of ``train`` tell the range.
        rules : ColumnRules
            With the names of all columns.
        where : str
            What the errors name.

        Raises
        ------
        InputError
            If a column has one value in all training rows, or is not what is said of it.
        """
        names, groups = rules.names, rules.groups(where)
        in_groups = {place for group in groups for place in group}
        low, high = _ranges(parts["train"], rules, in_groups, where)
        for part, values in parts.items():
            _check_groups(values, groups, names, f"{where}: {part}")
        whole = _whole(parts, rules, in_groups, where)
        for place in whole:
            if low[place] % 1 or high[place] % 1:
                raise InputError(
                    f"{where}: column {names[place]!r} holds whole numbers, and its range is "
                    f"declared as {low[place]:g} to {high[place]:g}; declare whole numbers"
                )
        fixed = tuple(sorted(_place(name, names, f"{where}: fixed") for name in rules.fixed))
        return cls(tuple(names), tuple(low), tuple(high), fixed, whole, groups)

    def scaled(self, values: npt.NDArray[np.floating]) -> tuple[Float32, int]:
        """Return rows (n, d) from 0 to 1, and how many of their values were beyond the range.

        These are set to its ends, as by scikit-learn's ``MinMaxScaler(clip=True)``.
        """
        low, high = self.ends
        beyond = int(np.count_nonzero((values < low) | (values > high)))
        scaled = (np.clip(values, low, high) - low) / (high - low)
        return scaled.astype(np.float32), beyond

    def in_units(self, rows: npt.NDArray[np.floating]) -> Float64:
        """Return rows (n, d) from 0 to 1 in the units of the table."""
        low, high = self.ends
        values: Float64 = low + np.asarray(rows, dtype=np.float64) * (high - low)
        whole = list(self.whole)
        values[:, whole] = np.rint(values[:, whole])
        return values

    def kept(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is kept beside rows, to read them by: names, ends, which are whole."""
        low, high = self.ends
        in_groups = [place for group in self.one_hot for place in group]
        whole = np.isin(np.arange(len(self.names)), [*self.whole, *in_groups])
        return {
            "column_names": np.array(self.names), "column_low": low, "column_high": high,
            "column_whole": whole,
        }  # fmt: skip

    def ruled(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Return what rows may be, to be hashed with them; nothing where they are free."""
        text = repr((self.low, self.high, self.fixed, self.whole, self.one_hot))
        return {"rules": np.frombuffer(text.encode(), np.uint8)} if self.bound else {}

    @property
    def bound(self) -> bool:
        """Whether not every row from 0 to 1 is one that an attack may make."""
        return bool(self.fixed or self.whole or self.one_hot)

    @functools.cached_property
    def ends(self) -> tuple[Float64, Float64]:
        """What 0 and 1 stand for, (d,) each."""
        return np.array(self.low, dtype=np.float64), np.array(self.high, dtype=np.float64)

    @functools.cached_property
    def fixed_places(self) -> Index:
        """The places of the columns that may not change."""
        return np.array(self.fixed, dtype=np.intp)

    @functools.cached_property
    def whole_places(self) -> Index:
        """The places of the columns that stay whole numbers and may change."""
        return np.setdiff1d(np.array(self.whole, dtype=np.intp), self.fixed_places)

    @functools.cached_property
    def group_places(self) -> tuple[Index, ...]:
        """The places of the one-hot groups that may change: of which no column is fixed."""
        free = (group for group in self.one_hot if not set(group) & set(self.fixed))
        return tuple(np.array(group, dtype=np.intp) for group in free)

    @functools.cached_property
    def held_places(self) -> Index:
        """The places of columns that never change: the fixed ones, and groups with one of them."""
        tied = [place for group in self.one_hot if set(group) & set(self.fixed) for place in group]
        return np.union1d(self.fixed_places, np.array(tied, dtype=np.intp)).astype(np.intp)


def _place(name: str, names: Sequence[str], where: str) -> int:
    if name not in names:
        raise InputError(f"{where}: no column is called {name!r}{closest(name, names)}")
    return list(names).index(name)


def _group(said: str | Sequence[str], names: Sequence[str], where: str) -> tuple[int, ...]:
    where = f"{where}: one_hot"
    if not isinstance(said, str):
        group = [_place(name, names, where) for name in said]
    else:
        forms = {mark: [n for n in names if n.startswith(said + mark)] for mark in "=_"}
        both = [members for members in forms.values() if members]
        if len(both) > 1:
            raise InputError(
                f"{where}: {said!r} could be {both[0][0]!r}, ... or {both[1][0]!r}, ...; name the "
                "columns of the group"
            )
        group = [_place(name, names, where) for name in (both[0] if both else [])]
    if len(set(group)) < 2:
        called = said if isinstance(said, str) else "|".join(said)
        raise InputError(
            f"{where}: {called!r} is {len(set(group))} columns, expected two or more, such as "
            f"{called}=A and {called}=B, or {called}_A and {called}_B"
        )
    return tuple(sorted(set(group)))


def _check_groups(
    values: npt.NDArray[np.floating],
    groups: Sequence[Sequence[int]],
    names: Sequence[str],
    where: str,
) -> None:
    for group in groups:
        part = values[:, list(group)]
        wrong = (((part != 0) & (part != 1)).any(axis=1)) | (part.sum(axis=1) != 1)
        if wrong.any():
            called = ", ".join(names[place] for place in group[:3]) + ", ..." * (len(group) > 3)
            row = int(np.argmax(wrong))
            raise InputError(
                f"{where}: of the one-hot columns {called} one has to be 1 and the others 0, and "
                f"{np.count_nonzero(wrong):,} rows are otherwise, first row {row + 1:,}: "
                f"{', '.join(f'{value:g}' for value in part[row][:3])}"
            )


def _ranges(
    train: npt.NDArray[np.floating], rules: ColumnRules, in_groups: set[int], where: str
) -> tuple[list[float], list[float]]:
    """Return what 0 and 1 stand for: as declared, else as the training rows have it."""
    names = rules.names
    low, high = train.min(axis=0).tolist(), train.max(axis=0).tolist()
    for place in in_groups:
        low[place], high[place] = 0.0, 1.0
    for ends, said, key in ((low, rules.low, "low"), (high, rules.high, "high")):
        for name, value in said.items():
            place = _place(name, names, f"{where}: {key}")
            if place in in_groups:
                raise InputError(f"{where}: {key}: {name!r} is a one-hot column, from 0 to 1")
            ends[place] = float(value)
    for name, least, most in zip(names, low, high, strict=True):
        if least == most:
            raise InputError(
                f"{where}: column {str(name)!r} has one value in all training rows; leave it out "
                f"(drop={name})"
            )
        if not 0 < most - least < np.inf:
            raise InputError(
                f"{where}: column {str(name)!r} goes from {least:g} to {most:g}; low has to be "
                "below high, and the range a finite number"
            )
    return low, high


def _whole(
    parts: Mapping[str, npt.NDArray[np.floating]],
    rules: ColumnRules,
    in_groups: set[int],
    where: str,
) -> tuple[int, ...]:
    """Return the places of the columns of whole numbers, found or declared; not of groups."""
    names, fraction = rules.names, np.zeros(len(rules.names), dtype=bool)
    for values in parts.values():
        fraction |= (values != np.floor(values)).any(axis=0)
    if rules.whole is None:
        return tuple(int(i) for i in np.flatnonzero(~fraction) if int(i) not in in_groups)
    places = sorted(_place(name, names, f"{where}: whole") for name in rules.whole)
    for place in places:
        if fraction[place]:
            raise InputError(f"{where}: column {names[place]!r} holds other than whole numbers")
    return tuple(place for place in places if place not in in_groups)
