"""A grid's table as lines of text; `table` and `markdown` only lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING, Literal

from fastadv.grid.trust.cells import CONTROLS
from fastadv.grid.worst import WORST
from fastadv.report.extras import EXTRAS, OBEY
from fastadv.report.names import OF_RANGE, short_names, words
from fastadv.report.notes import Note, Notes
from fastadv.threat import RANGE

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
    """A row of the table: an attack, and a cell for each defense.

    Attributes
    ----------
    attack : str
        As written.
    label : str
        What the table of one figure a cell calls the row.
    threat : str
        What the row is conditional on.
    kind : str
        That of its rows, or ``worst``.
    """

    attack: str
    label: str
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
    """Return the table of each dataset and model among the rows, with all that cells have.

    Worst cases are shown where a threat model has more than one attack, unless the rows are of
    several datasets or models.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in result.rows:
        groups.setdefault((row.dataset, row.model), []).append(row)
    shown = result.worst if len(groups) == 1 else ()
    return [_sheet(part, shown) for part in groups.values()]


def title(rows: Sequence[Row]) -> str:
    """Return what the rows of one dataset and model are of, and over how many runs."""
    done = [row for row in rows if row.status == "ok"]
    parts = [rows[0].dataset, rows[0].model, *([runs_text(done)] if done else [])]
    if any(note.name == "black_box" for row in done for note in row.notes):
        parts.append("black box")
    return " · ".join(parts)


def _sheet(rows: Sequence[Row], worst: Sequence[Worst]) -> Sheet:
    """Return the rows in the order of the table of one figure a cell."""
    notes = Notes()
    defenses = tuple(dict.fromkeys(row.defense for row in rows))
    names = short_names(rows)
    parts: dict[str, list[SheetRow]] = {"none": [], "evasion": [], "poisoning": []}
    for attack in dict.fromkeys(row.attack for row in rows):
        of_attack = {row.defense: row for row in rows if row.attack == attack}
        kind = next(iter(of_attack.values())).kind
        threat = first_threat(of_attack.values())
        label = "clean" if kind == "none" else names[attack]
        if kind == "evasion":
            label = f"{label} {words(threat)}".strip()
        line = tuple(_cell(of_attack.get(d), notes) for d in defenses)
        of_threat = str(threat) if threat is not None else ""
        parts[kind].append(SheetRow(attack, label, of_threat, kind, line))
    worst_rows = _worst_rows(rows, worst, defenses, notes)
    threats = list(dict.fromkeys(row.threat for row in parts["poisoning"]))
    poisoned = sorted(parts["poisoning"], key=lambda row: threats.index(row.threat))
    table = (*parts["none"], *parts["evasion"], *worst_rows, *poisoned)
    return Sheet(title(rows), defenses, table, _caption(rows, bool(worst_rows)), notes.all())


def first_threat(rows: Iterable[Row]) -> Threat | None:
    """Return what the rows of one attack are conditional on."""
    return next((row.threat for row in rows if row.threat), None)


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
            label = f"{WORST} {words(threat)}"
            table.append(SheetRow(WORST, label, str(threat), WORST, cells))
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
    if any(row.threat is not None and row.threat.unit == RANGE for row in rows):
        legends.append(OF_RANGE)
    if any(_draws(row) for row in done):
        legends.append("draws: of the poison; where all runs share one, trainings alone differ")
    radii = dict.fromkeys(
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


def percent(share: float) -> str:
    """Return a share, or a difference of two, in per cent; nothing that rounds to it is -0.0."""
    return f"{100 * share:.1f}".replace("-0.0", "0.0")


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
