"""A grid's table as lines of text; `table` and `markdown` only lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING, Literal

from fastadv.grid.several import WORST, Figures
from fastadv.grid.trust.cells import CONTROLS
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
    figures = Figures(result.means)
    return [
        _sheet(f"{dataset}, {model}", part, shown, figures)
        for (dataset, model), part in groups.items()
    ]


@dataclass(frozen=True)
class _Context:
    """What every cell of a table is written with."""

    n_seeds: int
    notes: Notes
    figures: Figures


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _sheet(title: str, rows: Sequence[Row], worst: Sequence[Worst], figures: Figures) -> Sheet:
    context = _Context(len({row.seed for row in rows}), Notes(), figures)
    defenses = _distinct(row.defense for row in rows)
    attacks = _distinct(row.attack for row in sorted(rows, key=lambda row: row.kind != "none"))
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.attack, row.defense), []).append(row)

    table = []
    for attack in attacks:
        line = tuple(_cell(cells.get((attack, d), []), context) for d in defenses)
        of_attack = [row for row in rows if row.attack == attack]
        table.append(SheetRow(attack, _threat_of(of_attack), of_attack[0].kind, line))
    worst_rows = _worst_rows(rows, worst, defenses, context)
    caption = _caption(rows, context.n_seeds, bool(worst_rows))
    return Sheet(title, tuple(defenses), (*table, *worst_rows), caption, context.notes.all())


def _threat_of(rows: Sequence[Row]) -> str:
    """Return what the rows of one attack are conditional on."""
    if rows[0].kind == "none":
        return "clean"
    return next((str(row.threat) for row in rows if row.threat), "")


# -- cells ----------------------------------------------------------------------------------


def _cell(rows: Sequence[Row], context: _Context) -> Cell:
    """Return what stands where an attack meets a defense; ``rows`` are its seeds."""
    if not rows:
        return Cell((Line("not run", "dim"),))
    done = [row for row in rows if row.status == "ok"]
    figure = context.figures.cell(done) if done else None
    lines = _figures(done, figure, context) if done else []
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
    return Cell(tuple(lines), None if figure is None else figure.value)


def _figures(done: Sequence[Row], figure: Figure | None, context: _Context) -> list[Line]:
    each = [row.attacked_accuracy for row in done if row.attacked_accuracy is not None]
    first, *others = _accuracy_lines(figure, each, context.n_seeds)
    extras = [extra.text(done) for extra in EXTRAS]
    beneath = [Line(text, "dim") for text in extras if text]
    quoted = " ".join(filter(None, [first.text, context.notes.marks(done), OBEY.text(done)]))
    return [Line(quoted), *others, *beneath]


def _accuracy_lines(figure: Figure | None, each: Sequence[Figure], n_seeds: int) -> list[Line]:
    """Return the accuracy and its interval, and of a grid of several seeds the spread."""
    if figure is None:
        return [Line("nan")]
    lines = [Line(f"{100 * figure.value:.1f}")]
    if figure.low is not None and figure.high is not None:
        lines.append(Line(f"{100 * figure.low:.1f}-{100 * figure.high:.1f}", "dim"))
    if n_seeds > 1:
        shares = [seed.value for seed in each]
        spread = f"± {100 * stdev(shares):.1f}" if len(shares) > 1 else "one seed"
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
    attacks: dict[Threat, set[str]] = {}
    for row in rows:
        if row.kind == "evasion" and row.status == "ok" and row.threat:
            attacks.setdefault(row.threat, set()).add(row.attack)
    cases: dict[tuple[Threat, str], list[Worst]] = {}
    for case in worst:
        cases.setdefault((case.threat, case.defense), []).append(case)
    table = []
    for threat in dict.fromkeys(case.threat for case in worst):
        names = attacks.get(threat, set())
        if len(names) > 1 and any(name.partition("[")[0] not in CONTROLS for name in names):
            cells = tuple(
                _worst_cell(cases.get((threat, d), []), names, rows[0], context) for d in defenses
            )
            table.append(SheetRow(WORST, str(threat), WORST, cells))
    return table


def _worst_cell(cases: Sequence[Worst], names: set[str], row: Row, context: _Context) -> Cell:
    """Return the worst case, and a line if it stands on fewer attacks than others of its row."""
    if not cases:
        return Cell((Line("-", "dim"),))
    figure = context.figures.worst(cases, row)
    lines = _accuracy_lines(figure, [case.accuracy for case in cases], context.n_seeds)
    absent = sorted({name for case in cases for name in names - set(case.attacks)})
    if absent:
        reason = f"a worst case without {', '.join(absent)}, with which it could only be lower"
        lines.append(Line(f"partial {context.notes.number(reason)}", "bad"))
    return Cell(tuple(lines), None if figure is None else figure.value)


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
