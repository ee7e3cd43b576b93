"""A grid's table as lines of text; `table` and `markdown` only lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING, Literal

from fastadv.grid.trust.cells import CONTROLS
from fastadv.grid.worst import WORST
from fastadv.report.extras import EXTRAS, OBEY
from fastadv.report.notes import Note, Notes

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Figure, Row
    from fastadv.grid.worst import Worst
    from fastadv.threat import Threat

Tone = Literal["plain", "dim", "bad"]


@dataclass(frozen=True)
class Line:
    """A line of a cell."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Cell:
    """What stands where an attack meets a defense; ``accuracy`` is a share, None without one."""

    lines: tuple[Line, ...]
    accuracy: float | None = None


@dataclass(frozen=True)
class SheetRow:
    """A row of the table: the attack, what it is conditional on, and a cell for each defense.

    ``kind`` is that of its rows, or ``worst``.
    """

    attack: str
    threat: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """All that a table shows; the defenses are its columns."""

    title: str
    defenses: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    caption: str
    notes: tuple[Note, ...]


def make_sheets(result: GridResult) -> list[Sheet]:
    """Return the table of each dataset and model among the rows.

    Worst cases are shown where a threat model has more than one attack, unless the rows are of
    several datasets or models.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in result.rows:
        groups.setdefault((row.dataset, row.model), []).append(row)
    shown = result.worst if len(groups) == 1 else ()
    return [_sheet(f"{dataset}, {model}", part, shown) for (dataset, model), part in groups.items()]


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _sheet(title: str, rows: Sequence[Row], worst: Sequence[Worst]) -> Sheet:
    notes = Notes()
    defenses = _distinct(row.defense for row in rows)
    attacks = _distinct(row.attack for row in sorted(rows, key=lambda row: row.kind != "none"))
    cells = {(row.attack, row.defense): row for row in rows}
    table = []
    for attack in attacks:
        line = tuple(_cell(cells.get((attack, d)), notes) for d in defenses)
        of_attack = [row for row in rows if row.attack == attack]
        table.append(SheetRow(attack, _threat_of(of_attack), of_attack[0].kind, line))
    worst_rows = _worst_rows(rows, worst, defenses, notes)
    caption = _caption(rows, bool(worst_rows))
    return Sheet(title, tuple(defenses), (*table, *worst_rows), caption, notes.all())


def _threat_of(rows: Sequence[Row]) -> str:
    """Return what the rows of one attack are conditional on."""
    if rows[0].kind == "none":
        return "clean"
    return next((str(row.threat) for row in rows if row.threat), "")


# -- cells ----------------------------------------------------------------------------------


def _cell(row: Row | None, notes: Notes) -> Cell:
    """Return what stands where an attack meets a defense."""
    if row is None:
        return Cell((Line("not run", "dim"),))
    if row.status == "ok":
        figure = row.attacked_accuracy
        return Cell(tuple(_figures(row, notes)), None if figure is None else figure.value)
    number = notes.number(row.reason)
    if row.status == "skipped":
        return Cell((Line(f"- {number}", "dim"),))
    return Cell((Line(f"{row.status} {number}", "bad"),))


def _figures(row: Row, notes: Notes) -> list[Line]:
    first, *others = _accuracy_lines(row.attacked_accuracy)
    spread = _spread([run.attacked_accuracy for run in row.runs]) + _draws(row)
    beneath = [Line(text, "dim") for text in (spread, *(e.text(row) for e in EXTRAS)) if text]
    quoted = " ".join(filter(None, [first.text, notes.marks(row), OBEY.text(row)]))
    return [Line(quoted), *others, *beneath]


def _accuracy_lines(figure: Figure | None) -> list[Line]:
    """Return the accuracy and its interval."""
    if figure is None:
        return [Line("nan")]
    lines = [Line(f"{100 * figure.value:.1f}")]
    if figure.low is not None and figure.high is not None:
        lines.append(Line(f"{100 * figure.low:.1f}-{100 * figure.high:.1f}", "dim"))
    return lines


def _spread(shares: Sequence[float | None]) -> str:
    """Return the spread over runs; empty of one."""
    known = [share for share in shares if share is not None]
    return f"± {100 * stdev(known):.1f}" if len(known) > 1 else ""


def _draws(row: Row) -> str:
    """Return how many draws of the poison the runs are of; of one, trainings alone differ."""
    draws = {run.draw for run in row.runs if run.draw is not None}
    if len(row.runs) < 2 or not draws:
        return ""
    return f", {len(draws)} draw{'s' if len(draws) > 1 else ''}"


# -- the worst case -------------------------------------------------------------------------


def _worst_rows(
    rows: Sequence[Row], worst: Sequence[Worst], defenses: Sequence[str], notes: Notes
) -> list[SheetRow]:
    """Return a row for each threat with several attacks; with one it would repeat that attack's."""
    cases = {(case.threat, case.defense): case for case in worst}
    table = []
    for threat, names in several_attacks(rows).items():
        cells = tuple(_worst_cell(cases.get((threat, d)), names, notes) for d in defenses)
        if any((threat, d) in cases for d in defenses):
            table.append(SheetRow(WORST, str(threat), WORST, cells))
    return table


def several_attacks(rows: Sequence[Row]) -> dict[Threat, set[str]]:
    """Return the evasion attacks of each threat model that has two or more, not only controls."""
    attacks: dict[Threat, set[str]] = {}
    for row in rows:
        if row.kind == "evasion" and row.status == "ok" and row.threat:
            attacks.setdefault(row.threat, set()).add(row.attack)
    return {
        threat: names
        for threat, names in attacks.items()
        if len(names) > 1 and any(name.partition("[")[0] not in CONTROLS for name in names)
    }


def _worst_cell(case: Worst | None, names: set[str], notes: Notes) -> Cell:
    """Return the worst case, and a line if it stands on fewer attacks than others of its row."""
    if case is None:
        return Cell((Line("-", "dim"),))
    lines = _accuracy_lines(case.accuracy)
    absent = sorted(names - set(case.attacks))
    if absent:
        reason = f"a worst case without {', '.join(absent)}, with which it could only be lower"
        lines.append(Line(f"partial {notes.number(reason)}", "bad"))
    return Cell(tuple(lines), case.accuracy.value)


# -- the caption ----------------------------------------------------------------------------


def _caption(rows: Sequence[Row], has_worst: bool) -> str:
    done = [row for row in rows if row.status == "ok"]
    runs = {len(row.runs) for row in done}
    figure = "accuracy in %, beneath it its 95 % interval over test images, for one training"
    if max(runs, default=1) > 1:
        figure = (
            f"accuracy in %, the mean over {runs_text(done)}, beneath it its 95 % interval over "
            "trainings and test images, and ± the sample standard deviation over runs"
        )
    sentences = [f"A row for each attack, a column for each defense; {figure}"]
    images = _images(rows)
    if images:
        sentences.append(images)
    legends = [extra.legend for extra in (OBEY, *EXTRAS) if any(extra.text(row) for row in done)]
    if any(_draws(row) for row in done):
        legends.append("draws: of the poison; where all runs share one, trainings alone differ")
    radii = _distinct(
        f"{row.certified.threat} for {row.defense}"
        for row in rows
        if row.kind == "none" and row.certified
    )
    if radii:
        legends.append(f"certified in the clean row within {', '.join(radii)}")
    if has_worst:
        legends.append("worst: an image counts if it survives every attack of that threat model")
    sentences += ["; ".join(legends)] if legends else []
    return ". ".join(sentences) + "."


def runs_text(rows: Sequence[Row]) -> str:
    """Return how many runs stand behind the rows: ``5 runs``."""
    n = max((len(row.runs) for row in rows), default=0)
    return f"{n} run{'s' if n != 1 else ''}"


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
