"""A grid's table as lines of text; `table` and `markdown` only lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

from fastadv.grid.several import WORST, Intervals, accuracy
from fastadv.grid.trust import CONTROLS
from fastadv.report.extras import EXTRAS, OBEY
from fastadv.report.notes import Note, Notes

if TYPE_CHECKING:
    from fastadv.grid.several import Mean
    from fastadv.grid.store import Row
    from fastadv.grid.worst import Worst

Tone = Literal["plain", "dim", "bad"]


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


def make_sheets(
    rows: Sequence[Row], worst: Sequence[Worst] = (), means: Sequence[Mean] = ()
) -> list[Sheet]:
    """Return the table of each dataset and model among the rows.

    Parameters
    ----------
    rows : sequence of Row
        In the order in which attacks and defenses are to be shown.
    worst : sequence of Worst
        From `fastadv.grid.worst.worst_rows`. Shown where a threat model has more than one attack;
        left out if the rows are of several datasets or models.
    means : sequence of Mean
        From `fastadv.grid.several.over_seeds`. Without the mean of a cell its interval over several
        seeds is as wide as images can make it.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.model), []).append(row)
    shown = worst if len(groups) == 1 else ()
    intervals = Intervals(means)
    return [
        _sheet(f"{dataset}, {model}", part, shown, intervals)
        for (dataset, model), part in groups.items()
    ]


@dataclass(frozen=True)
class _Context:
    """What every cell of a table is written with."""

    n_seeds: int
    notes: Notes
    intervals: Intervals


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _sheet(title: str, rows: Sequence[Row], worst: Sequence[Worst], intervals: Intervals) -> Sheet:
    context = _Context(len({row.seed for row in rows}), Notes(), intervals)
    defenses = _distinct(row.defense for row in rows)
    attacks = _distinct(row.attack for row in sorted(rows, key=lambda row: row.kind != "none"))
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.attack, row.defense), []).append(row)

    table = []
    for attack in attacks:
        line = tuple(_cell(cells.get((attack, d), []), context) for d in defenses)
        table.append(SheetRow(attack, _threat_of(attack, rows), line))
    worst_rows = _worst_rows(rows, worst, defenses, context)
    caption = _caption(rows, context.n_seeds, bool(worst_rows))
    return Sheet(title, tuple(defenses), (*table, *worst_rows), caption, context.notes.all())


def _threat_of(attack: str, rows: Sequence[Row]) -> str:
    of_attack = [row for row in rows if row.attack == attack]
    if of_attack[0].kind == "none":
        return "clean"
    return next((row.threat for row in of_attack if row.threat), "")


# -- cells ----------------------------------------------------------------------------------


def _cell(rows: Sequence[Row], context: _Context) -> Cell:
    """Return what stands where an attack meets a defense; ``rows`` are its seeds."""
    if not rows:
        return (Line("not run", "dim"),)
    done = [row for row in rows if row.status == "ok"]
    lines = _figures(done, context) if done else []
    undone: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.status != "ok":
            key = row.status, context.notes.number(row.reason)
            undone[key] = undone.get(key, 0) + 1
    for (status, number), count in undone.items():
        share = f"{count}/{len(rows)} " if count < len(rows) else ""
        if status == "skipped":
            lines.append(Line(f"- {share}{number}", "dim"))
        else:
            lines.append(Line(f"{status} {share}{number}", "bad"))
    return tuple(lines)


def _figures(done: Sequence[Row], context: _Context) -> list[Line]:
    accuracies, interval = [accuracy(row) for row in done], context.intervals.cell(done)
    first, *others = _accuracy_lines(accuracies, interval, context.n_seeds)
    extras = [extra.text(done) for extra in EXTRAS]
    beneath = [Line(text, "dim") for text in extras if text]
    figure = " ".join(filter(None, [first.text, context.notes.marks(done), OBEY.text(done)]))
    return [Line(figure), *others, *beneath]


def _accuracy_lines(
    accuracies: Sequence[float], interval: tuple[float, float], n_seeds: int
) -> list[Line]:
    """Return the mean accuracy and its interval, and of a grid of several seeds the spread."""
    low, high = (100 * limit for limit in interval)
    lines = [Line(f"{100 * fmean(accuracies):.1f}"), Line(f"{low:.1f}-{high:.1f}", "dim")]
    if n_seeds > 1:
        spread = f"± {100 * stdev(accuracies):.1f}" if len(accuracies) > 1 else "one seed"
        lines.append(Line(spread, "dim"))
    return lines


# -- the worst case -------------------------------------------------------------------------


def _worst_rows(
    rows: Sequence[Row],
    worst: Sequence[Worst],
    defenses: Sequence[str],
    context: _Context,
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
                _worst_cell(found.get((threat, d), []), names, rows[0], context) for d in defenses
            )
            table.append(SheetRow(WORST, threat, cells))
    return table


def _worst_cell(cases: Sequence[Worst], names: set[str], row: Row, context: _Context) -> Cell:
    """Return the worst case, and a line if it stands on fewer attacks than others of its row."""
    if not cases:
        return (Line("-", "dim"),)
    accuracies, interval = [case.accuracy for case in cases], context.intervals.worst(cases, row)
    lines = _accuracy_lines(accuracies, interval, context.n_seeds)
    absent = sorted({name for case in cases for name in names - set(case.attacks)})
    if absent:
        reason = f"a worst case without {', '.join(absent)}, with which it could only be lower"
        lines.append(Line(f"partial {context.notes.number(reason)}", "bad"))
    return tuple(lines)


# -- the caption ----------------------------------------------------------------------------


def _caption(rows: Sequence[Row], n_seeds: int, has_worst: bool) -> str:
    if n_seeds == 1:
        figure = (
            "accuracy in %, beneath it its 95 % Wilson interval over test images, for one training"
        )
    else:
        figure = (
            f"accuracy in %, the mean over {n_seeds} seeds, beneath it its 95 % interval over "
            "trainings and test images, and ± the sample standard deviation over seeds"
        )
    sentences = [f"A row for each attack, a column for each defense; {figure}"]
    images = _images(rows)
    if images:
        sentences.append(images)
    done = [row for row in rows if row.status == "ok"]
    legends = [extra.legend for extra in (OBEY, *EXTRAS) if extra.text(done)]
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
