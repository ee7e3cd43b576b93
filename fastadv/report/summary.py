"""What a grid's table says at a glance: one figure a cell, and the best of each row.

Everything else a row has is in `fastadv.report.cells`, which ``--details`` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fastadv.grid.ranking import LEVEL, best, candidate
from fastadv.grid.ranking import worst_candidate as worst_of
from fastadv.grid.row import WAITING
from fastadv.grid.worst import WORST
from fastadv.report.cells import first_threat, percent, several_attacks, title
from fastadv.report.names import OF_RANGE, short_names, words
from fastadv.report.notes import FLAG, NOTE, Note, Notes
from fastadv.threat import RANGE

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Figure, Row
    from fastadv.grid.worst import Worst
    from fastadv.threat import Threat

Kind = Literal["clean", "evasion", "worst", "poisoning"]
BEST = "*"
TOLD = ("refit", "probabilities")  # notes that a reader of the figure itself has to know
FLIPS = "random flips"


@dataclass(frozen=True)
class Entry:
    """A cell: its figure, its marks, and what stands there if there is no figure.

    ``lost`` is the share of clean accuracy that the attack takes, where that is known; ``note``
    says that there is a note on it among `TOLD`.
    """

    figure: Figure | None = None
    best: bool = False
    flag: bool = False
    missing: str = "-"
    lost: float | None = None
    note: bool = False

    @property
    def mark(self) -> str:
        """What stands behind the figure: one mark, the flag's before the note's."""
        return FLAG if self.flag else NOTE if self.note else ""

    @property
    def text(self) -> str:
        """The figure and the half width of its interval, in per cent, without marks."""
        if self.figure is None:
            return self.missing
        value = percent(self.figure.value)
        if self.figure.low is None or self.figure.high is None:
            return value
        return f"{value}±{100 * (self.figure.high - self.figure.low) / 2:.1f}"


@dataclass(frozen=True)
class Line:
    """A row of the table: an attack, what it may do, and an entry for each defense.

    Attributes
    ----------
    name : str
        The attack, short.
    threat : str
        What its figures are conditional on; empty where the heading of its section says it.
    rows : dict of Row
        By defense, what the entries are from; empty of a worst case.
    cases : dict of Worst
        By defense, what the entries of a worst case are from.
    best : tuple of str
        The best defense, and those that a test cannot tell from it.
    """

    kind: Kind
    name: str
    threat: str
    entries: tuple[Entry, ...]
    rows: dict[str, Row] = field(default_factory=dict)
    best: tuple[str, ...] = ()
    cases: dict[str, Worst] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and threat."""
        return f"{self.name} {self.threat}".strip()


@dataclass(frozen=True)
class Section:
    """Lines that belong together; poisoning has a heading that says what its figures are."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Summary:
    """All that the table shows; the defenses are its columns.

    ``notes`` are why cells have no figure, flags, and the notes among `TOLD`.
    """

    title: str
    defenses: tuple[str, ...]
    sections: tuple[Section, ...]
    caption: str
    notes: tuple[Note, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all sections."""
        return tuple(line for section in self.sections for line in section.lines)


def summaries(result: GridResult) -> list[Summary]:
    """Return the table of each dataset and model among the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in result.rows:
        groups.setdefault((row.dataset, row.model), []).append(row)
    return [_summary(rows, result, len(groups) == 1) for rows in groups.values()]


def _summary(rows: Sequence[Row], result: GridResult, with_worst: bool) -> Summary:
    notes = Notes()
    defenses = tuple(dict.fromkeys(row.defense for row in rows))
    made = _Lines(rows, defenses, result, notes)
    clean = made.of_kind("none", "clean", lambda _: "")
    evasion = made.of_kind("evasion", "evasion", lambda row: words(row.threat))
    worst = made.worst() if with_worst else []
    sections = [Section("", tuple(lines)) for lines in (clean, [*evasion, *worst]) if lines]
    poisoned = made.of_kind("poisoning", "poisoning", lambda _: "")
    for threat in dict.fromkeys(first_threat(line.rows.values()) for line in poisoned):
        lines = [line for line in poisoned if first_threat(line.rows.values()) == threat]
        heading = f"points of clean accuracy lost to {_means(threat)}"
        sections.append(Section(heading, (*lines, *made.flips(lines))))
    done = [row for row in rows if row.status == "ok"]
    everything = [line for section in sections for line in section.lines]
    return Summary(
        title(rows), defenses, tuple(sections), _caption(everything, done),
        tuple(note for note in notes.all() if note.mark != NOTE or note.name in TOLD),
    )  # fmt: skip


class _Lines:
    """Makes the lines of one table."""

    def __init__(
        self, rows: Sequence[Row], defenses: tuple[str, ...], result: GridResult, notes: Notes
    ) -> None:
        self._rows, self._defenses, self._result, self._notes = rows, defenses, result, notes
        self._names = short_names(rows)

    def of_kind(self, of: str, kind: Kind, threat: Callable[[Row], str]) -> list[Line]:
        """Return a line for each attack of a kind of rows."""
        attacks: dict[str, dict[str, Row]] = {}
        for row in self._rows:
            if row.kind == of:
                attacks.setdefault(row.attack, {})[row.defense] = row
        lines = []
        for attack, rows in attacks.items():
            leading = self._best(rows.values()) if kind != "clean" else ()
            entries = [self._entry(rows.get(d), d in leading) for d in self._defenses]
            first = next((row for row in rows.values() if row.threat), next(iter(rows.values())))
            name = "clean" if kind == "clean" else self._names[attack]
            lines.append(Line(kind, name, threat(first), tuple(entries), rows, leading))
        return lines

    def _best(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Return the best ones; none where the images of a figure are not kept."""
        shown = [row for row in rows if row.status == "ok" and not row.flags]
        found = [candidate(row, self._result.samples) for row in shown]
        known = [one for one in found if one is not None]
        return best(known) if len(known) == len(shown) else ()

    def _entry(self, row: Row | None, leads: bool) -> Entry:
        if row is None:
            return Entry(missing="")
        if row.status == WAITING:
            return Entry(missing="·")
        if row.status != "ok":
            status = "-" if row.status == "skipped" else row.status
            return Entry(missing=f"{status} {self._notes.number(row.reason)}")
        flagged = FLAG in self._notes.marks(row)
        figure = row.accuracy_lost if row.kind == "poisoning" else row.attacked_accuracy
        noted = any(note.name in TOLD for note in row.notes)
        return Entry(figure, leads, flagged, "nan", accuracy_lost(row), noted)

    def flips(self, lines: Sequence[Line]) -> list[Line]:
        """Return a line of random flips for each baseline of poisoning rows."""
        out, seen = [], set()
        for line in lines:
            rows = {d: row for d, row in line.rows.items() if row.baseline_lost is not None}
            figures = tuple(rows[d].baseline_lost if d in rows else None for d in self._defenses)
            if rows and figures not in seen:
                seen.add(figures)
                entries = tuple(Entry(f, lost=None if f is None else f.value) for f in figures)
                out.append(Line("poisoning", FLIPS, "", entries))
        return out

    def worst(self) -> list[Line]:
        """Return a line for each threat with several attacks."""
        cases = {(case.threat, case.defense): case for case in self._result.worst}
        lines = []
        for threat, attacks in several_attacks(self._rows).items():
            of = {d: cases.get((threat, d)) for d in self._defenses}
            if not any(of.values()):
                continue
            trusted = [d for d, case in of.items() if case and self._trusted(case, attacks)]
            leading = self._best_worst(threat, trusted)
            entries = tuple(
                self._worst(case, d in leading, d not in trusted) if case else Entry()
                for d, case in of.items()
            )
            shown = {d: case for d, case in of.items() if case}
            line = Line("worst", WORST, words(threat), entries, best=leading, cases=shown)
            lines.append(line)
        return lines

    def _worst(self, case: Worst, leads: bool, flag: bool) -> Entry:
        rows = self._behind(case.threat, case.defense)
        before = next((row.clean_accuracy for row in rows if row.clean_accuracy), None)
        lost = None if before is None else before.value - case.accuracy.value
        return Entry(case.accuracy, leads, flag, lost=lost)

    def _behind(self, threat: Threat, defense: str) -> list[Row]:
        """Return the attacks of a threat on a defense that have run."""
        return [
            row
            for row in self._rows
            if row.kind == "evasion" and row.threat == threat and row.defense == defense
            if row.status != "skipped"
        ]

    def _trusted(self, case: Worst, attacks: set[str]) -> bool:
        """Return whether no attack of the line lacks in a worst case, and one is not flagged."""
        rows = self._behind(case.threat, case.defense)
        return set(case.attacks) >= attacks and not (rows and all(row.flags for row in rows))

    def _best_worst(self, threat: Threat, trusted: Sequence[str]) -> tuple[str, ...]:
        """Return the best of the worst cases that are to be trusted."""
        found = [worst_of(self._behind(threat, d), self._result.samples) for d in trusted]
        known = [one for one in found if one is not None]
        return best(known) if len(known) == len(found) else ()


def accuracy_lost(row: Row) -> float | None:
    """Return the share of clean accuracy that the attack of a row takes; None of the clean row."""
    if row.kind == "poisoning":
        return None if row.accuracy_lost is None else row.accuracy_lost.value
    if row.kind == "none" or row.clean_accuracy is None or row.attacked_accuracy is None:
        return None
    return row.clean_accuracy.value - row.attacked_accuracy.value


def _means(threat: Threat | None) -> str:
    """Return ``3 % poison``."""
    if threat is None:
        return "poison"
    counted = threat.kind in ("points", "trigger_points")
    amount = f"{threat.budget:g} points of" if counted else f"{100 * threat.budget:g} %"
    return f"{amount} poison" + (" and a trigger" if threat.kind.startswith("trigger") else "")


def _caption(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    several = any(len(row.runs) > 1 for row in rows)
    over = "runs and test images" if several else "test images, of one run"
    parts = [f"Accuracy in %, ± half of its 95 % interval over {over}"]
    counts = {kind: {row.n for row in rows if row.kind == kind} for kind in ("evasion", "none")}
    if counts["evasion"] and counts["evasion"] != counts["none"]:
        each = [f"{max(counts[kind]):,}" for kind in ("evasion", "none") if counts[kind]]
        parts.append(f"{' images under evasion, '.join(each)} else")
    if any(line.threat.endswith(RANGE) for line in lines):
        parts.append(OF_RANGE.capitalize())
    if any(line.best for line in lines):
        test = f"a paired test (Holm, {100 * LEVEL:g} %)"
        parts.append(f"{BEST} best of its row, and what {test} cannot tell from it")
    return ". ".join(parts) + "."
