"""A grid's table as lines of text; `table` and `markdown` only lay them out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

from fastadv.grid.trust import CONTROLS
from fastadv.metrics import wilson_interval

if TYPE_CHECKING:
    from fastadv.grid.store import Flag, Row
    from fastadv.grid.worst import Worst

Tone = Literal["plain", "dim", "bad"]

_NAMED_CELLS = 4  # how many cells a note names before it only counts the others


@dataclass(frozen=True)
class Line:
    """A line of a cell."""

    text: str
    tone: Tone = "plain"


Cell = tuple[Line, ...]


@dataclass(frozen=True)
class SheetRow:
    """A row of the table: the attack, what it is conditional on, and a cell for each defense."""

    attack: str
    threat: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Note:
    """A remark below the table; ``mark`` is what refers to it in the cells."""

    mark: str
    text: str


@dataclass(frozen=True)
class Sheet:
    """All that a table shows.

    Attributes
    ----------
    title, caption : str
    defenses : tuple of str
        The columns.
    """

    title: str
    defenses: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    caption: str
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class _Extra:
    """A figure beneath the accuracy: its label, its value, and what the caption says of it.

    ``beside`` is a second figure behind a slash, where a row has it.
    """

    label: str
    value: Callable[[Row], float | None]
    legend: str
    beside: Callable[[Row], float | None] = lambda _: None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _of_flow(distance: str) -> Callable[[Row], float | None]:
    # The attacks of this threat look for the smallest change, whatever the budget.
    def value(row: Row) -> float | None:
        return row.distances.get(distance) if (row.threat or "").startswith("flow(") else None

    return value


def _triggered(row: Row) -> float | None:
    return _percent(row.success_rate) if row.kind == "poisoning" else None


def _certified(row: Row) -> float | None:
    return _percent(row.certified.get("accuracy")) if row.certified else None


_EXTRAS = (
    _Extra(
        "needs",
        _of_flow("flow_loss"),
        "needs: median flow loss of the attack's successes, at any budget",
    ),
    _Extra(
        "moves",
        _of_flow("translation"),
        "moves: their median translation in pixels, of which the flow loss sees nothing",
    ),
    _Extra(
        "unaware",
        lambda row: _percent(row.oblivious_accuracy),
        "unaware: accuracy under an attack that does not know the defense",
    ),
    _Extra(
        "flips",
        lambda row: _percent(row.baseline_accuracy),
        "flips: accuracy with as many random label flips in place of the poison",
    ),
    _Extra("trigger", _triggered, "trigger: share of triggered images that get the target label"),
    _Extra(
        "caught",
        lambda row: _percent((row.sanitized or {}).get("caught")),
        "caught: share of the poison that was dropped or got its true label back (behind a slash, "
        "of the unaware attack's)",
        lambda row: _percent((row.sanitized or {}).get("caught_unaware")),
    ),
    _Extra(
        "lost",
        lambda row: _percent((row.sanitized or {}).get("lost")),
        "lost: share of the clean training images that were dropped or relabelled",
    ),
    _Extra(
        "proven",
        _certified,
        "proven: certified accuracy at the row's budget, over the images of evasion rows",
    ),
)


class _Notes:
    """Numbers each distinct reason once, and gathers the cells that each distinct flag concerns."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._flags: dict[tuple[str, str], list[str]] = {}
        self.extras: list[_Extra] = []

    def number(self, reason: str | None) -> str:
        text = " ".join((reason or "no reason was kept").split())
        if text not in self._reasons:
            self._reasons.append(text)
        return f"[{self._reasons.index(text) + 1}]"

    def flag(self, flag: Flag, row: Row) -> None:
        text = f"{flag.message}; {flag.remedy}" if flag.remedy else flag.message
        cells = self._flags.setdefault((flag.name, " ".join(text.split())), [])
        cell = f"{row.attack} / {row.defense}"
        if cell not in cells:
            cells.append(cell)

    def use(self, extra: _Extra) -> None:
        if extra not in self.extras:
            self.extras.append(extra)

    def all(self) -> tuple[Note, ...]:
        reasons = [Note(f"[{i}]", text) for i, text in enumerate(self._reasons, start=1)]
        flags = [
            Note("!", f"{name}: {message} ({name_some(cells)})")
            for (name, message), cells in self._flags.items()
        ]
        return (*reasons, *flags)


def name_some(cells: Sequence[str]) -> str:
    """Return the first few cells, and how many more there are."""
    more = len(cells) - _NAMED_CELLS
    return ", ".join(cells[:_NAMED_CELLS]) + (f" and {more} more" if more > 0 else "")


def make_sheets(rows: Sequence[Row], worst: Sequence[Worst] = ()) -> list[Sheet]:
    """Return the table of each dataset and model among the rows.

    Parameters
    ----------
    rows : sequence of Row
        In the order in which attacks and defenses are to be shown.
    worst : sequence of Worst
        From `fastadv.grid.worst.worst_rows`. Shown where a threat model has more than one attack;
        left out if the rows are of several datasets or models.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.model), []).append(row)
    shown = worst if len(groups) == 1 else ()
    return [_sheet(f"{dataset}, {model}", part, shown) for (dataset, model), part in groups.items()]


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _sheet(title: str, rows: Sequence[Row], worst: Sequence[Worst]) -> Sheet:
    notes = _Notes()
    seeds = {row.seed for row in rows}
    defenses = _distinct(row.defense for row in rows)
    attacks = _distinct(row.attack for row in sorted(rows, key=lambda row: row.kind != "none"))
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.attack, row.defense), []).append(row)

    table = []
    for attack in attacks:
        line = tuple(_cell(cells.get((attack, d), []), len(seeds), notes) for d in defenses)
        table.append(SheetRow(attack, _threat_of(attack, rows), line))
    worst_rows = _worst_rows(rows, worst, defenses, len(seeds), notes)
    caption = _caption(rows, len(seeds), notes.extras, bool(worst_rows))
    return Sheet(title, tuple(defenses), (*table, *worst_rows), caption, notes.all())


def _threat_of(attack: str, rows: Sequence[Row]) -> str:
    of_attack = [row for row in rows if row.attack == attack]
    if of_attack[0].kind == "none":
        return "clean"
    return next((row.threat for row in of_attack if row.threat), "")


# -- cells ----------------------------------------------------------------------------------


def _cell(rows: Sequence[Row], n_seeds: int, notes: _Notes) -> Cell:
    """Return what stands where an attack meets a defense; ``rows`` are its seeds."""
    if not rows:
        return (Line("not run", "dim"),)
    done = [row for row in rows if row.status == "ok"]
    lines = _figures(done, n_seeds, notes) if done else []
    undone: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.status != "ok":
            key = row.status, notes.number(row.reason)
            undone[key] = undone.get(key, 0) + 1
    for (status, number), count in undone.items():
        share = f"{count}/{len(rows)} " if count < len(rows) else ""
        if status == "skipped":
            lines.append(Line(f"- {share}{number}", "dim"))
        else:
            lines.append(Line(f"{status} {share}{number}", "bad"))
    return tuple(lines)


def _figures(done: Sequence[Row], n_seeds: int, notes: _Notes) -> list[Line]:
    accuracies = [_accuracy(row) for row in done]
    intervals = [_interval(row) for row in done]
    lines = _accuracy_lines(accuracies, intervals, min(row.n for row in done), n_seeds)
    for row in done:
        for flag in row.flags:
            notes.flag(flag, row)
            lines[0] = Line(lines[0].text.removesuffix(" !") + " !")
    for extra in _EXTRAS:
        figures = [_mean(done, extra.value), _mean(done, extra.beside)]
        text = " / ".join(f"{figure:.1f}" for figure in figures if figure is not None)
        if text:
            notes.use(extra)
            lines.append(Line(f"{extra.label} {text}", "dim"))
    return lines


def _mean(rows: Sequence[Row], value: Callable[[Row], float | None]) -> float | None:
    """Return the mean over the rows that have a finite value; None if there is none."""
    values = [value(row) for row in rows]
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None


def _accuracy(row: Row) -> float:
    for accuracy in (row.attacked_accuracy, row.clean_accuracy):
        if accuracy is not None:
            return accuracy
    return math.nan


def _interval(row: Row) -> tuple[float, float]:
    if row.attacked_accuracy_ci95 is not None:
        return row.attacked_accuracy_ci95
    accuracy = _accuracy(row)
    if row.n < 1 or math.isnan(accuracy):
        return math.nan, math.nan
    return wilson_interval(round(accuracy * row.n), row.n)


def _accuracy_lines(
    accuracies: Sequence[float], intervals: Sequence[tuple[float, float]], n: int, n_seeds: int
) -> list[Line]:
    """Return the accuracy and its interval, and over several seeds the mean, its own, the spread.

    ``n`` are the test images, the same for every seed.
    """
    mean = fmean(accuracies)
    several = len(accuracies) > 1 and n > 0 and not math.isnan(mean)
    low, high = wilson_interval(mean * n, n) if several else intervals[-1]
    lines = [Line(f"{100 * mean:.1f}"), Line(f"{100 * low:.1f}-{100 * high:.1f}", "dim")]
    if n_seeds > 1:
        spread = f"± {100 * stdev(accuracies):.1f}" if len(accuracies) > 1 else "one seed"
        lines.append(Line(spread, "dim"))
    return lines


# -- the worst case -------------------------------------------------------------------------


def _worst_rows(
    rows: Sequence[Row],
    worst: Sequence[Worst],
    defenses: Sequence[str],
    n_seeds: int,
    notes: _Notes,
) -> list[SheetRow]:
    """Return a row for each threat with several attacks; with one it would repeat that attack's."""
    attacks: dict[str, set[str]] = {}
    for row in rows:
        if row.kind == "evasion" and row.status == "ok" and row.threat:
            attacks.setdefault(row.threat, set()).add(row.attack)
    found: dict[tuple[str, str], list[Worst]] = {}
    for case in worst:
        found.setdefault((case.threat, case.defense), []).append(case)
    table = []
    for threat in _distinct(case.threat for case in worst):
        names = attacks.get(threat, set())
        if len(names) > 1 and any(name.partition("[")[0] not in CONTROLS for name in names):
            cells = tuple(
                _worst_cell(found.get((threat, d), []), names, n_seeds, notes) for d in defenses
            )
            table.append(SheetRow("worst", threat, cells))
    return table


def _worst_cell(cases: Sequence[Worst], names: set[str], n_seeds: int, notes: _Notes) -> Cell:
    """Return the worst case, and a line if it stands on fewer attacks than others of its row."""
    if not cases:
        return (Line("-", "dim"),)
    accuracies, intervals = [case.accuracy for case in cases], [case.ci95 for case in cases]
    lines = _accuracy_lines(accuracies, intervals, min(case.n for case in cases), n_seeds)
    absent = sorted({name for case in cases for name in names - set(case.attacks)})
    if absent:
        reason = f"a worst case without {', '.join(absent)}, with which it could only be lower"
        lines.append(Line(f"partial {notes.number(reason)}", "bad"))
    return tuple(lines)


# -- the caption ----------------------------------------------------------------------------


def _caption(rows: Sequence[Row], n_seeds: int, extras: Sequence[_Extra], has_worst: bool) -> str:
    if n_seeds == 1:
        figure = "accuracy in %, beneath it its 95 % Wilson interval over test images"
    else:
        figure = (
            f"accuracy in %, the mean over {n_seeds} seeds, beneath it the 95 % Wilson interval, "
            "which counts each test image once, and ± the sample standard deviation over seeds"
        )
    sentences = [f"A row for each attack, a column for each defense; {figure}"]
    images = _images(rows)
    if images:
        sentences.append(images)
    legends = [extra.legend for extra in _EXTRAS if extra in extras]
    radii = _distinct(
        f"{row.certified['threat']} for {row.defense}"
        for row in rows
        if row.kind == "none" and row.certified
    )
    if radii:
        legends.append(f"proven in the clean row within {', '.join(radii)}")
    if has_worst:
        legends.append("worst: an image counts if it survives every attack of that threat model")
    sentences += ["; ".join(legends)] if legends else []
    return ". ".join(sentences) + "."


def _images(rows: Sequence[Row]) -> str:
    """Return how many test images stand behind the figures of each kind of row."""
    words = {"evasion": "evasion", "none": "clean", "poisoning": "poisoning"}
    kinds_of: dict[str, list[str]] = {}
    for kind, word in words.items():
        counts = {row.n for row in rows if row.kind == kind and row.status == "ok" and row.n}
        if counts:
            low, high = min(counts), max(counts)
            text = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            kinds_of.setdefault(text, []).append(word)
    if len(kinds_of) == 1:
        return f"{next(iter(kinds_of))} images"
    parts = [f"{count} images for {' and '.join(kinds)} rows" for count, kinds in kinds_of.items()]
    return ", ".join(parts)
