"""Two grids beside each other: cell by cell what changed, and whether chance could have done it.

Trainings are chance, too: see `compare_grids` for what can be tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastadv.errors import InputError, printable
from fastadv.grid.result import GridResult, read_result
from fastadv.grid.row import Row
from fastadv.metrics import holm
from fastadv.report.notes import name_some
from fastadv.report.pairs import REMEDIES, Pair, make_pair


@dataclass(frozen=True)
class Side:
    """One of the two grids, or one defense of it.

    Attributes
    ----------
    name : str
        As the user wrote it.
    defense : str or None
        The only one that is looked at, if one was named.
    result : GridResult
        With a defense named, of that one.
    """

    name: str
    defense: str | None
    result: GridResult


@dataclass(frozen=True)
class Sides:
    """A comparison of any kind: both sides as the user wrote them, and what else is not the same.

    Notes name versions, parameters, and what only one side has.
    """

    before: str
    after: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison(Sides):
    """All cells that two grids have in common, in the order of the first."""

    pairs: tuple[Pair, ...]


def read_side(text: str) -> Side:
    """Read a grid's folder, or one defense of it: ``DIR`` or ``DIR:DEFENSE``.

    Raises
    ------
    InputError
        If that is no grid's folder, or it has no such defense.
    """
    folder, defense = _split(text)
    result, name = read_result(folder), printable(text)
    if defense is None:
        return Side(name, None, result)
    rows = tuple(row for row in result.rows if row.defense == defense)
    if not rows:
        known = ", ".join(dict.fromkeys(row.defense for row in result.rows))
        raise InputError(f"{folder} has no defense {defense!r} (known there: {known or 'nothing'})")
    worst = tuple(case for case in result.worst if case.defense == defense)
    grid = result.grid | {"defenses": [defense]}
    return Side(name, defense, replace(result, rows=rows, worst=worst, grid=grid))


def _split(text: str) -> tuple[Path, str | None]:
    if not Path(text).exists():
        for at in (i for i, letter in enumerate(text) if letter == ":"):
            if at and Path(text[:at]).is_dir():
                return Path(text[:at]), text[at + 1 :]
    return Path(text), None


def compare_grids(before: Side, after: Side) -> Comparison:
    """Return each cell that both have, tested where a test can tell.

    Cells are the same if attack and defense are, as they were written; with a defense named on both
    sides, those two are compared. Dataset and model have to be the same only where one side has
    several.

    - Of several runs the mean difference is tested, over trainings and images (`fastadv.runs`);
      runs of the same seeds on the same images are paired.
    - Of one run nothing is known if the two are of two trainings, or poisoned: another seed may say
      the opposite. Two figures of one trained model, such as ``none`` and ``median`` under an
      evasion attack, are compared by McNemar's exact test on its images, for this model only. So
      are models that were given, as they are: they are one training each, and no others are asked
      about.

    Raises
    ------
    InputError
        If there is no such cell.
    """
    keyed = [_by_key(side, _key_of(before, after)) for side in (before, after)]
    common = [key for key in keyed[0] if key in keyed[1]]
    if not common:
        raise InputError(f"{before.name} and {after.name} have no cell in common")
    pairs, notes = list[Pair](), _differences(before, after)
    for key in common:
        a, b = keyed[0][key], keyed[1][key]
        notes += _changed_parameters(a, b)
        pair, remarks = make_pair(a, b, (before.result.samples, after.result.samples))
        pairs += [pair] if pair is not None else []
        notes += remarks
    for side, mine, others in ((before, keyed[0], keyed[1]), (after, keyed[1], keyed[0])):
        rows = [row for key, row in mine.items() if key not in others]
        names = list(dict.fromkeys(f"{row.attack} / {row.defense}" for row in rows))
        if names:
            notes.append(f"only in {side.name}: {name_some(names)}")
    return Comparison(before.name, after.name, tuple(dict.fromkeys(notes)), _adjusted(pairs))


def _key_of(before: Side, after: Side) -> tuple[str, ...]:
    """Return the fields that make two cells the same."""
    key = ["attack", "defense", "dataset", "model"]
    if before.defense is not None and after.defense is not None:
        key.remove("defense")
    for name in ("dataset", "model"):
        if all(len({getattr(row, name) for row in side.result}) == 1 for side in (before, after)):
            key.remove(name)
    return tuple(key)


Key = tuple[str, ...]


def _by_key(side: Side, key: Sequence[str]) -> dict[Key, Row]:
    """Return the row of each cell."""
    return {tuple(getattr(row, name) for name in key): row for row in side.result}


def _adjusted(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    adjusted = iter(holm([pair.p_value for pair in pairs if pair.p_value is not None]))
    return tuple(
        pair if pair.p_value is None else replace(pair, adjusted=next(adjusted)) for pair in pairs
    )


# -- what else is not the same --------------------------------------------------------------


def _differences(before: Side, after: Side) -> list[str]:
    notes = [f"{side.name}: {line}" for side in (before, after) for line in side.result.problems]
    for name in ("dataset", "model"):
        values = [", ".join(sorted({getattr(r, name) for r in s.result})) for s in (before, after)]
        if values[0] != values[1]:
            notes.append(f"{name}: {values[0]} before, {values[1]} after")
    return notes + changed_environment(before.result.environment, after.result.environment)


def changed_environment(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return a line for each version or part of the machine that is not the same."""
    return [
        f"{key}: {before.get(key, 'not kept')} before, {after.get(key, 'not kept')} after"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


def _changed_parameters(a: Row, b: Row) -> list[str]:
    """Return a line for each default that is another one now, where the spec is the same."""
    notes = []
    for kind in ("attack", "defense", "model"):
        text = getattr(a, kind)
        if text != getattr(b, kind):
            continue
        old, new = a.parameters.get(kind, {}), b.parameters.get(kind, {})
        notes += [
            f"{text}: {key} {old.get(key, 'not there')} before, {new.get(key, 'not there')} after"
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
    return notes


# -- gates ----------------------------------------------------------------------------------


def regressions(comparison: Comparison) -> list[str]:
    """Return a line for each cell that is significantly worse, or can no longer be compared."""
    lines = []
    for pair in comparison.pairs:
        if pair.problem is not None and pair.before is not None:
            lines.append(f"{pair.cell}: not tested ({pair.problem})")
        elif pair.worse and pair.before is not None and pair.after is not None:
            only = ", in this model" if pair.scope == "this model" else ""
            lines.append(
                f"{pair.cell}: {100 * pair.before:.1f} before, {100 * pair.after:.1f} after{only}"
            )
    return lines


def untold(comparison: Comparison) -> list[str]:
    """Return a line for each reason why no test can tell, with the cells that it holds for."""
    cells: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        if pair.unknown is not None:
            cells.setdefault(pair.unknown, []).append(pair.cell)
    return [
        f"unknown ({reason}): {name_some(names)}; {REMEDIES[reason]}"
        for reason, names in cells.items()
    ]
