"""The table of the page: a figure a cell, each a link to the story of its cell."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastadv.report.extras import EXTRAS, OBEY
from fastadv.report.notes import FLAG, NOTE, Note, Notes
from fastadv.report.story import Story, story, worst_story
from fastadv.report.summary import BEST, TOLD

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Row
    from fastadv.report.summary import Entry, Line, Section, Summary

_DEEPEST = 60  # % of the colour of harm where all is lost; beyond it text is hard to read
_BENEATH = [extra for extra in (OBEY, *EXTRAS) if extra.label != "points"]  # the figure itself

text = html.escape  # everything that comes from files goes through it


class Stories:
    """The stories of a page, each under the name that a link to it has: ``cell=ATTACK/DEFENSE``.

    Attributes
    ----------
    told : dict of (str, str, Story)
        By name: the cell's short label, its text in the table, and its story.
    """

    def __init__(self, result: GridResult) -> None:
        self._result = result
        self.told: dict[str, tuple[str, str, Story]] = {}

    def add(self, line: Line, defense: str, shown: str) -> str | None:
        """Tell the story of a table's cell, and return its name; None if it has none."""
        if defense in line.rows:
            found = story(self._result, line.rows[defense])
        elif defense in line.cases:
            found = worst_story(self._result, line.cases[defense])
        else:
            return None
        name, number = f"cell={found.name}", 2
        while name in self.told:  # of another dataset or model, or another threat's worst case
            name, number = f"cell={found.name}@{number}", number + 1
        self.told[name] = f"{line.label} / {defense}", shown, found
        return name


def link(name: str) -> str:
    """Return the address of a story within the page."""
    return "#" + quote(name, safe="=/,@")


def table(sheet: Summary, stories: Stories) -> str:
    """Return a table with its caption and notes, without what follows from it.

    What is known beside each figure stands beneath it, hidden until it is asked for.
    """
    head = "".join(f'<th scope="col">{spec(name)}</th>' for name in sheet.defenses)
    bodies = "".join(_section(section, sheet, stories) for section in sheet.sections)
    rows = [row for line in sheet.lines for row in line.rows.values()]
    return (
        # The box works by the style alone; the script puts its filters beside it.
        '<div class="controls"><label class="button"><input type="checkbox" class="ask">'
        "details in the cells</label></div>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(sheet.title)}">'
        '<table class="grid">'
        f'<thead><tr><th scope="col">attack</th>{head}</tr></thead>{bodies}</table></div>'
        f'<p class="legend">{text(sheet.caption)} The deeper the colour, the more of the clean '
        f'accuracy is lost.</p><p class="legend more">{text(_legend(rows))}</p>'
        f"{_notes(sheet.notes)}{_notes(_remarks(rows), 'more')}"
    )


def _legend(rows: Sequence[Row]) -> str:
    """Return what the words mean that stand beneath the figures."""
    used = [e.legend for e in _BENEATH if any(e.text(r) for r in rows if r.status == "ok")]
    left = ["leaves: accuracy after training on the poisoned set"]
    poisoned = any(row.kind == "poisoning" for row in rows)
    return "; ".join(["Beneath each figure its interval", *(left if poisoned else []), *used]) + "."


def _remarks(rows: Sequence[Row]) -> list[Note]:
    """Return the notes on figures that stand, but those that the table has anyway."""
    notes = Notes()
    for row in rows:
        notes.marks(row)
    return [note for note in notes.all() if note.mark == NOTE and note.name not in TOLD]


def _notes(shown: Sequence[Note], kind: str = "") -> str:
    """Return notes below a table, each behind its mark."""
    if not shown:
        return ""
    items = "".join(
        f"<li{' class=flag' if note.mark == FLAG else ''}><b>{text(note.mark)}</b>"
        f"<span>{text(note.text)}</span></li>"
        for note in shown
    )
    return f'<ul class="notes {kind}">{items}</ul>'


def spec(name: str) -> str:
    """Return a spec that a narrow column breaks after its marks alone, not within its words."""
    broken = re.sub(r"([,[_])", r"\1<wbr>", text(name))
    return f"<code>{broken}</code>"


def _section(section: Section, sheet: Summary, stories: Stories) -> str:
    heading = ""
    if section.heading:
        columns = len(sheet.defenses) + 1
        heading = (
            f'<tr class="heading"><th scope="rowgroup" colspan="{columns}">'
            f"<span>{text(section.heading)}</span></th></tr>"
        )
    threat = section.heading.partition(" lost to ")[2]
    rows = "".join(_line(line, threat, sheet, stories) for line in section.lines)
    return f"<tbody>{heading}{rows}</tbody>"


def _line(line: Line, threat: str, sheet: Summary, stories: Stories) -> str:
    cells = "".join(
        _cell(line, entry, defense, stories)
        for entry, defense in zip(line.entries, sheet.defenses, strict=True)
    )
    words = f" <span>{text(line.threat)}</span>" if line.threat else ""
    attack = next((row.attack for row in line.rows.values()), "")
    known = line.kind == "clean" or attack in ("", line.name)
    full = "" if known else f'<span class="more">{spec(attack)}</span>'
    named = "" if line.kind == "clean" else text(line.name)
    return (
        f'<tr data-attack="{named}" data-threat="{text(line.threat or threat)}">'
        f'<th scope="row">{text(line.name)}{words}{full}</th>{cells}</tr>'
    )


def _cell(line: Line, entry: Entry, defense: str, stories: Stories) -> str:
    name = stories.add(line, defense, entry.text)
    shown = _figure(entry)
    if name is not None:
        shown = f'<a href="{text(link(name))}">{shown}</a>'
    shown += _more(line, defense)
    if entry.figure is None:
        return f'<td class="none">{shown}</td>'
    value = entry.figure.value
    harm = value if line.kind == "poisoning" else 1 - value
    shade = _DEEPEST * min(max(entry.lost or 0.0, 0.0), 1.0)
    return f'<td class="h{shade:.0f}" data-harm="{harm:.5f}">{shown}</td>'


def _figure(entry: Entry) -> str:
    value, _, half = entry.text.partition("±")
    best = f'<span class="mark" title="best of its row">{BEST}</span>' if entry.best else ""
    title = ' title="not to be trusted"' if entry.flag else ""
    mark = f'<span class="flag"{title}>{entry.mark}</span>' if entry.mark else ""
    beside = f"<i>±{text(half)}</i>" if half else ""
    tag = "b" if entry.best else "span"
    return f"{best}<{tag}>{text(value)}</{tag}>{beside}{mark}"


def _more(line: Line, defense: str) -> str:
    """Return what a cell shows beneath its figure when details are asked for."""
    found: list[str] = []
    row = line.rows.get(defense)
    if row is not None and row.status == "ok":
        if row.kind == "poisoning" and row.attacked_accuracy is not None:
            found.append(f"leaves {100 * row.attacked_accuracy.value:.1f}")
        figure = row.accuracy_lost if row.kind == "poisoning" else row.attacked_accuracy
        if figure is not None and figure.low is not None and figure.high is not None:
            ends = f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"
            found.append(ends.replace("-0.0", "0.0"))
        found += [extra.text(row) for extra in _BENEATH if extra.text(row)]
        found += [NOTE] if row.notes else []
    case = line.cases.get(defense)
    if case is not None and case.missing:
        found.append(f"without {', '.join(case.missing)}")
    lines = "".join(f"<span>{text(one)}</span>" for one in found)
    return f'<span class="more">{lines}</span>' if found else ""
