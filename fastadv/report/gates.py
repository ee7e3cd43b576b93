"""Gates for CI: which accuracy each cell of a grid has to reach, and the cells that fail.

A cell is named ``ATTACK/DEFENSE`` (`fastadv.report.patterns`), either of them ``*`` for all;
``worst`` is the attack of a worst case, ``none`` of the clean row, which ``*`` does not include.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastadv.errors import InputError
from fastadv.report.patterns import WORST, Cell, Pattern
from fastadv.specs import partition_top_level, read_toml, shown, split_top_level

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Figure, Row
    from fastadv.grid.worst import Worst
    from fastadv.report.names import Names

FAIL_UNDER, ALLOW_FLAGGED = "--fail-under", "--allow-flagged"

_ROUNDING = 1e-9  # of a mean over runs


@dataclass(frozen=True)
class Gate:
    """What is asked of a grid.

    Attributes
    ----------
    thresholds : tuple of (Pattern, float)
        The least accuracy, a share; of several that name a cell the last one counts.
    allowed : tuple of Pattern
        Cells whose flags do not fail.
    """

    thresholds: tuple[tuple[Pattern, float], ...]
    allowed: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, fail_under: str | None, allow_flagged: Sequence[str] = ()) -> Gate | None:
        """Read the two options; None if no gate is asked for.

        Raises
        ------
        InputError
            In the first thing that is wrong.
        """
        if fail_under is None:
            if allow_flagged:
                raise InputError(f"{ALLOW_FLAGGED} goes with {FAIL_UNDER}, which is not given")
            return None
        if fail_under.strip().lower().endswith(".toml"):
            thresholds = _from_file(Path(fail_under.strip()))
        else:
            thresholds = [_threshold(part) for part in split_top_level(fail_under)]
        if not thresholds:
            raise InputError(f"{FAIL_UNDER}: no threshold; {_FORM}")
        listed = [part for text in allow_flagged for part in split_top_level(text)]
        allowed = [Pattern.parse(text, ALLOW_FLAGGED) for text in listed]
        return cls(tuple(thresholds), tuple(allowed))

    def least(self, attack: str, defense: str) -> float | None:
        """Return the accuracy that a cell has to reach; None if no threshold names it."""
        named = [share for pattern, share in self.thresholds if pattern.names(attack, defense)]
        return named[-1] if named else None

    def in_full(self, names: Names) -> Gate:
        """Return the gate with every attack in full.

        Raises
        ------
        InputError
            If a pattern names none of these cells, or could mean several attacks.
        """
        return replace(
            self,
            thresholds=tuple((names.meant(p, FAIL_UNDER), share) for p, share in self.thresholds),
            allowed=tuple(names.meant(p, ALLOW_FLAGGED) for p in self.allowed),
        )

    def failures(self, result: GridResult) -> list[str]:
        """Return a line for each named cell that fails, and why.

        It fails if its accuracy, of several runs their mean, is lower than asked, if it is flagged,
        and if it has no figure. Of pairs that do not go together only those fail that are named
        without ``*``.

        Raises
        ------
        InputError
            If a pattern names no cell, of those that were asked for and of those that are there,
            or could mean several attacks.
        """
        from fastadv.report.names import Names

        grid = result.grid  # what it does not say is not missed
        cells = {(row.attack, row.defense): row for row in result.rows}
        cases = [case for case in result.worst if len(case.attacks) + len(case.missing) > 1]
        asked = list(itertools.product(grid.get("attacks", []), grid.get("defenses", [])))
        every = [*asked, *cells, *((WORST, case.defense) for case in cases)]
        gate, lines = self.in_full(Names(every, result.rows)), []
        for cell in dict.fromkeys([*asked, *cells]):
            lines += gate._cell(cell, cells.get(cell))
        for case in cases:
            lines += gate._worst(case)
        return lines

    def _cell(self, cell: Cell, row: Row | None) -> list[str]:
        least = self.least(*cell)
        if least is None:
            return []
        if row is None or row.attacked_accuracy is None:
            status = "not run" if row is None else row.status
            missing = status != "skipped" or self._names_one(cell)
            reasons = [f"no figure ({status})"] * missing
        else:
            reasons = _below(row.attacked_accuracy, least, _obeying(row))
        flags = [flag.name for flag in row.flags] if row is not None else []
        if flags and not any(pattern.names(*cell) for pattern in self.allowed):
            name = "/".join(cell)
            reasons.append(f"not to be trusted: {', '.join(flags)} ({ALLOW_FLAGGED} {name})")
        return [f"{' / '.join(cell)}: {'; '.join(reasons)}"] if reasons else []

    def _names_one(self, cell: Cell) -> bool:
        return any(pattern.one_cell and pattern.names(*cell) for pattern, _ in self.thresholds)

    def _worst(self, case: Worst) -> list[str]:
        least = self.least(WORST, case.defense)
        if least is None:
            return []
        reasons = _below(case.accuracy, least)
        if case.missing:
            without = ", ".join(case.missing)
            reasons.append(f"without {without}, with which it could only be lower")
        return [f"worst of {case.threat} / {case.defense}: {'; '.join(reasons)}"] * bool(reasons)


def _below(figure: Figure, least: float, why: str = "") -> list[str]:
    if figure.value >= least - _ROUNDING:
        return []
    mean = f", the mean over {figure.n_runs} runs," if figure.n_runs > 1 else ""
    return [f"{100 * figure.value:.4g} %{mean} is below {100 * least:g} %{why}"]


def _obeying(row: Row) -> str:
    """Return what a backdoor's figure is low for; nothing for other rows."""
    if row.kind != "poisoning" or row.success_rate is None:
        return ""
    share = 100 * row.success_rate.value
    return f" ({share:.4g} % of the triggered images get the target label)"


# -- what a user writes ---------------------------------------------------------------------

_FORM = 'write 75%, "pgd/median=80%,backdoor/*=5%", or the name of a .toml file'


def _threshold(text: str) -> tuple[Pattern, float]:
    """Read ``75%``, which is of all cells, or ``ATTACK/DEFENSE=75%``."""
    cell, equals, share = partition_top_level(text, "=")
    if not equals:
        return Pattern("*", "*"), parse_share(text, FAIL_UNDER)
    return Pattern.parse(cell, FAIL_UNDER), parse_share(share, f"{FAIL_UNDER} {cell.strip()}")


def _from_file(path: Path) -> list[tuple[Pattern, float]]:
    """Read a TOML file of lines ``"ATTACK/DEFENSE" = "75%"``."""
    return [
        (Pattern.parse(cell, str(path)), parse_share(share, f"{path}: {cell}"))
        for cell, share in read_toml(path, f"{FAIL_UNDER}: {path}").items()
    ]


def parse_share(given: object, where: str) -> float:
    """Return the share that ``75%``, ``75`` or (from a file) the number 75 means.

    Raises
    ------
    InputError
        If it is none between 0 and 100 %, or a number in (0, 1] without ``%``, which could be meant
        as a share or in per cent.
    """
    text = given.strip() if isinstance(given, str) else shown(given)
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if isinstance(given, bool) or not 0 <= value <= 100:
        raise InputError(f"{where} has to be an accuracy from 0% to 100%, got {text!r}; {_FORM}")
    if 0 < value <= 1 and not text.endswith("%"):
        raise InputError(
            f"{where}: {text} could mean {value:g}% or {100 * value:g}%; write one of the two"
        )
    return value / 100
