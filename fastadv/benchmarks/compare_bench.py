"""Two files of ``fastadv bench --json`` beside each other: ratios, which hold on any machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fastadv.benchmarks.race import Lap
from fastadv.errors import InputError, brief
from fastadv.files import read_plain
from fastadv.report.compare import Sides, changed_environment
from fastadv.report.notes import name_some

SCHEMA = 1
ALLOWED = 0.25  # how much worse a ratio may be: noise of a machine that does other work, too


class BenchFile(msgspec.Struct):
    """What ``fastadv bench --json`` keeps."""

    schema: int
    rounds: int
    environment: dict[str, Any]
    laps: list[Lap]


@dataclass(frozen=True)
class RatioPair:
    """How many times faster than one runner, before and after.

    Attributes
    ----------
    before, after : float or None
        None where it did not run.
    quality : str
        Ours, where it is not the same.
    """

    race: str
    runner: str
    before: float | None
    after: float | None
    quality: str = ""

    @property
    def change(self) -> float | None:
        """As a share: -0.2 is a fifth less of a lead."""
        if self.before is None or self.after is None:
            return None
        return self.after / self.before - 1

    @property
    def worse(self) -> bool:
        """Whether it is by more than may be noise."""
        return self.change is not None and self.change < -ALLOWED


@dataclass(frozen=True)
class BenchComparison(Sides):
    """All races that two files have in common, in the order of the first."""

    pairs: tuple[RatioPair, ...]


def read_bench(path: Path) -> BenchFile:
    """Read a file of ``fastadv bench --json``.

    Raises
    ------
    InputError
        If it is not one.
    """
    try:
        file = msgspec.json.decode(read_plain(path), type=BenchFile)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # no such JSON; no UTF-8; brackets in brackets
        raise InputError(f"{path} is no file of fastadv bench --json ({brief(error)})") from None
    if file.schema != SCHEMA:
        raise InputError(f"{path} is of schema {file.schema}, not {SCHEMA}; measure again")
    return file


def compare_bench(a: BenchFile, b: BenchFile, before: str, after: str) -> BenchComparison:
    """Return the ratio of each runner of each race in both files.

    Raises
    ------
    InputError
        If they have no race in common.
    """
    laps = [{(lap.suite, lap.race, lap.runner): lap for lap in file.laps} for file in (a, b)]
    pairs = []
    for key, was in laps[0].items():
        if key not in laps[1] or was.ratio == was.low == was.high == 1.0:  # ours
            continue
        now, ours = laps[1][key], (*key[:2], "fastadv")
        quality = _quality(laps[0].get(ours), laps[1].get(ours))
        if was.ratio is not None or now.ratio is not None:
            pairs.append(RatioPair(was.race, was.runner, was.ratio, now.ratio, quality))
    if not pairs:
        raise InputError(f"{before} and {after} have no measured race in common")
    notes = changed_environment(a.environment, b.environment)
    for name, mine, others in ((before, laps[0], laps[1]), (after, laps[1], laps[0])):
        alone = dict.fromkeys(lap.race for key, lap in mine.items() if key not in others)
        if alone:
            notes.append(f"only in {name}: {name_some(list(alone))}")
    return BenchComparison(before, after, tuple(notes), tuple(pairs))


def _quality(was: Lap | None, now: Lap | None) -> str:
    if was is None or now is None:
        return ""
    return ", ".join(
        f"{name} {value:.4g} -> {now.quality[name]:.4g}"
        for name, value in was.quality.items()
        if name in now.quality and f"{value:.4g}" != f"{now.quality[name]:.4g}"
    )


def slower(comparison: BenchComparison) -> list[str]:
    """Return a line for each ratio that is worse by more than 25 %, or is not there any more."""
    lines = []
    for pair in comparison.pairs:
        if pair.after is None:
            lines.append(f"{pair.race}, {pair.runner}: did not run after")
        elif pair.worse and pair.before is not None and pair.change is not None:
            lines.append(
                f"{pair.race}, {pair.runner}: {pair.before:.3g}x before, {pair.after:.3g}x after "
                f"({100 * pair.change:+.0f} %)"
            )
    return lines
