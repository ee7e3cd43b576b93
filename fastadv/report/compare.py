"""Two grids beside each other: cell by cell what changed, and whether chance could have done it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.grid.store import Row, read_samples
from fastadv.metrics import holm, mcnemar_exact
from fastadv.report.folder import read_folder
from fastadv.report.notes import name_some

LEVEL = 0.05  # of what is called significant, over all cells together

_KINDS = {"none": "clean", "evasion": "evasion", "poisoning": "poisoning"}

Samples = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Side:
    """One of the two grids, or one defense of it.

    Attributes
    ----------
    name : str
        As the user wrote it.
    folder : Path
    defense : str or None
        The only one that is looked at, if one was named.
    grid : dict
        What was asked for; with a defense named, of that one.
    rows : list of Row
    environment : dict
        What it was computed with.
    problems : list of str
        A line for each file that could not be used.
    """

    name: str
    folder: Path
    defense: str | None
    grid: dict[str, Any]
    rows: list[Row]
    environment: dict[str, Any]
    problems: list[str]


@dataclass(frozen=True)
class Pair:
    """A cell before and after.

    Attributes
    ----------
    before, after : float or None
        The accuracy to quote, over the images that both have; None where there is no figure.
    n : int
        Those images.
    lost, won : int
        Images that only before were right, and that only after are.
    p_value, adjusted : float or None
        Of McNemar's exact test, and by Holm for the number of tests; None where none was made.
    problem : str or None
        Why not.
    """

    attack: str
    defense: str
    seed: int
    threat: str | None
    before: float | None
    after: float | None
    n: int = 0
    lost: int = 0
    won: int = 0
    p_value: float | None = None
    adjusted: float | None = None
    problem: str | None = None

    @property
    def cell(self) -> str:
        """The cell's name."""
        return f"{self.attack} / {self.defense}, seed {self.seed}"

    @property
    def difference(self) -> float | None:
        """After minus before; None where the two do not answer the same question."""
        if self.before is None or self.after is None or self.p_value is None:
            return None
        return self.after - self.before

    @property
    def significant(self) -> bool:
        """Whether chance is ruled out."""
        return self.adjusted is not None and self.adjusted <= LEVEL

    @property
    def worse(self) -> bool:
        """Whether the accuracy fell, significantly."""
        return self.significant and self.won < self.lost


@dataclass(frozen=True)
class Comparison:
    """All that two grids have in common.

    Attributes
    ----------
    pairs : tuple of Pair
        In the order of the first.
    notes : tuple of str
        What else is not the same: versions, parameters, cells that only one has.
    """

    before: str
    after: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def read_side(text: str) -> Side:
    """Read a grid's folder, or one defense of it: ``DIR`` or ``DIR:DEFENSE``.

    Raises
    ------
    InputError
        If that is no grid's folder, or it has no such defense.
    """
    folder, defense = _split(text)
    found = read_folder(folder)
    rows = [row for row in found.rows if defense in (None, row.defense)]
    if not rows:
        known = ", ".join(dict.fromkeys(row.defense for row in found.rows))
        raise InputError(f"{folder} has no defense {defense!r} (known there: {known or 'nothing'})")
    grid = found.grid if defense is None else found.grid | {"defenses": [defense]}
    return Side(text, folder, defense, grid, rows, found.environment, found.problems)


def _split(text: str) -> tuple[Path, str | None]:
    if not Path(text).exists():
        for at in (i for i, letter in enumerate(text) if letter == ":"):
            if at and Path(text[:at]).is_dir():
                return Path(text[:at]), text[at + 1 :]
    return Path(text), None


def compare_grids(before: Side, after: Side) -> Comparison:
    """Return each cell that both have, with McNemar's exact test on the images that both have.

    Cells are the same if attack, defense and seed are, as they were written; with a defense named
    on both sides, those two are compared. Dataset and model have to be the same only where one
    side has several.

    Raises
    ------
    InputError
        If there is no such cell.
    """
    keyed = [_by_key(side, _key_of(before, after)) for side in (before, after)]
    common = [key for key in keyed[0] if key in keyed[1]]
    if not common:
        raise InputError(f"{before.name} and {after.name} have no cell in common")
    pairs, notes = [], _differences(before, after)
    for key in common:
        a, b = keyed[0][key], keyed[1][key]
        if (a.status, b.status) == ("skipped", "skipped"):
            continue
        pair = _pair(a, b, before.folder, after.folder)
        pairs.append(pair)
        if pair.p_value is not None and not a.n == b.n == pair.n:
            notes.append(
                f"{_KINDS[b.kind]} rows: compared on the {pair.n:,} test images that both have, of "
                f"{a.n:,} before and {b.n:,} after"
            )
        notes += _changed_parameters(a, b)
    for side, mine, others in ((before, keyed[0], keyed[1]), (after, keyed[1], keyed[0])):
        alone = [f"{row.attack} / {row.defense}" for key, row in mine.items() if key not in others]
        if alone:
            notes.append(f"only in {side.name}: {name_some(list(dict.fromkeys(alone)))}")
    return Comparison(before.name, after.name, _adjusted(pairs), tuple(dict.fromkeys(notes)))


def _key_of(before: Side, after: Side) -> tuple[str, ...]:
    """Return the fields that make two cells the same."""
    key = ["attack", "defense", "seed", "dataset", "model"]
    if before.defense is not None and after.defense is not None:
        key.remove("defense")
    for name in ("dataset", "model"):
        if all(len({getattr(row, name) for row in side.rows}) == 1 for side in (before, after)):
            key.remove(name)
    return tuple(key)


def _by_key(side: Side, key: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    return {tuple(getattr(row, name) for name in key): row for row in side.rows}


# -- one cell -------------------------------------------------------------------------------


def _pair(a: Row, b: Row, folder_a: Path, folder_b: Path) -> Pair:
    defense = a.defense if a.defense == b.defense else f"{a.defense} -> {b.defense}"
    plain = Pair(
        a.attack, defense, a.seed, b.threat or a.threat, a.attacked_accuracy, b.attacked_accuracy
    )
    if (a.status, b.status) != ("ok", "ok"):
        return replace(plain, problem=_undone(a, b))
    if a.threat != b.threat:
        return replace(plain, problem=f"threat {a.threat} before, {b.threat} after")
    samples = read_samples(folder_a, a.id), read_samples(folder_b, b.id)
    if samples[0] is None or samples[1] is None:
        side = "before" if samples[0] is None else "after"
        return replace(plain, problem=f"the samples of {side} cannot be read")
    return _tested(plain, samples[0], samples[1])


def _undone(a: Row, b: Row) -> str:
    sides = (("before", a), ("after", b))
    return "; ".join(f"{row.status} {side}" for side, row in sides if row.status != "ok")


def _tested(plain: Pair, a: Samples, b: Samples) -> Pair:
    """Return the pair with both accuracies over the images that both have, and the test."""
    in_a, in_b = _common_images(a["sample_ids"], b["sample_ids"])
    if len(in_a) == 0:
        return replace(plain, problem="not one test image in common")
    if not np.array_equal(a["y"][in_a], b["y"][in_b]):
        return replace(plain, problem="the same images have other labels")
    was, now = a["robust"][in_a], b["robust"][in_b]
    lost, won = int((was & ~now).sum()), int((now & ~was).sum())
    return replace(
        plain, before=float(was.mean()), after=float(now.mean()), n=len(was),
        lost=lost, won=won, p_value=mcnemar_exact(lost, won),
    )  # fmt: skip


def _common_images(
    a: npt.NDArray[Any], b: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return where each image that both have stands in either; an image counts once."""
    if np.array_equal(a, b):
        return np.arange(len(a)), np.arange(len(b))
    _, in_a, in_b = np.intersect1d(a, b, return_indices=True)
    return in_a, in_b


def _adjusted(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    adjusted = iter(holm([pair.p_value for pair in pairs if pair.p_value is not None]))
    return tuple(
        pair if pair.p_value is None else replace(pair, adjusted=next(adjusted)) for pair in pairs
    )


# -- what else is not the same --------------------------------------------------------------


def _differences(before: Side, after: Side) -> list[str]:
    notes = [f"{side.name}: {line}" for side in (before, after) for line in side.problems]
    for name in ("dataset", "model"):
        values = [", ".join(sorted({getattr(r, name) for r in s.rows})) for s in (before, after)]
        if values[0] != values[1]:
            notes.append(f"{name}: {values[0]} before, {values[1]} after")
    return notes + changed_environment(before.environment, after.environment)


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
    """Return a line for each cell that is significantly worse, or can no longer be tested."""
    lines = []
    for pair in comparison.pairs:
        if pair.problem is not None and pair.before is not None:
            lines.append(f"{pair.cell}: not tested ({pair.problem})")
        elif pair.worse and pair.before is not None and pair.after is not None:
            lines.append(
                f"{pair.cell}: {100 * pair.before:.1f} before, {100 * pair.after:.1f} after"
            )
    return lines
