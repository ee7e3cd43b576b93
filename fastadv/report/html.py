"""A grid as one page of HTML that needs no other file, no network and no script."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastadv.report.cells import Cell, Sheet, SheetRow, make_sheets
from fastadv.report.command import grid_command
from fastadv.report.curves import Plot, plots, series_class, svg
from fastadv.report.gallery import Gallery, Picture, galleries
from fastadv.report.notes import FLAG
from fastadv.report.page_style import STYLE
from fastadv.report.png import data_uri

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult

# What a browser may load: nothing but what stands in the page itself.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_DEEPEST = 60  # % of the colour of harm where no image survives; beyond it text is hard to read

text = html.escape  # everything that comes from files goes through it


def grid_html(result: GridResult) -> str:
    """Return the page: what was asked for, the table, its notes, curves and pictures."""
    sheets = make_sheets(result)
    title = f"fastadv: {sheets[0].title}" if sheets else "fastadv"
    curves, pictures = plots(result), galleries(result)
    body = [
        f"<h1>{text(title)}</h1>", _facts(result), *(_sheet(sheet) for sheet in sheets),
        _section("Accuracy over the budget", map(_plot, curves)),
        _section(
            "What the attacks make of images",
            [_gallery(shown) for shown in pictures if shown.kind == "evasion"],
            "Above the image, then the attacked one, then their difference around grey, stretched "
            "to the largest; plain grey where the attack failed or the model was wrong before. "
            "Below them the true label, and what the defended model says in its place.",
        ),
        _section(
            "What is added to the training set",
            [_gallery(shown) for shown in pictures if shown.kind == "poisoning"],
            "Below each poison point the label that it is given.",
        ),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _section(title: str, cards: Iterable[str], legend: str = "") -> str:
    cards = list(cards)
    if not cards:
        return ""
    below = f'<p class="legend">{text(legend)}</p>' if legend else ""
    return f'<h2>{text(title)}</h2>{below}<div class="cards">{"".join(cards)}</div>'


def _facts(result: GridResult) -> str:
    """Return what was asked for, as the command that asks for it again, and what it ran on."""
    environment = "".join(
        f"<div><dt>{text(str(name))}</dt><dd>{text(str(value))}</dd></div>"
        for name, value in result.environment.items()
    )
    command = f"<pre><code>{text(grid_command(result.grid))}</code></pre>" if result.grid else ""
    problems = "".join(f'<p class="bad">{text(problem)}</p>' for problem in result.problems)
    return f'{command}<dl class="facts">{environment}</dl>{problems}'


# -- the table ------------------------------------------------------------------------------


def _sheet(sheet: Sheet) -> str:
    head = "".join(f"<th>{_spec(name)}</th>" for name in sheet.defenses)
    rows = "".join(map(_row, sheet.rows))
    notes = "".join(
        f"<li{' class=flag' if note.mark == FLAG else ''}><b>{text(note.mark)}</b>"
        f"<span>{text(note.text)}</span></li>"
        for note in sheet.notes
    )
    return (
        f"<h2>{text(sheet.title)}</h2>"
        f'<div class="scroll"><table><thead><tr><th>attack</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="legend">{text(sheet.caption)} The deeper the colour, the fewer images are '
        f"right.</p>" + (f'<ul class="notes">{notes}</ul>' if notes else "")
    )


def _row(row: SheetRow) -> str:
    worst = row.kind == "worst"
    name = "worst" if worst else _spec(row.attack)
    threat = f"<span>{text(row.threat)}</span>" if row.threat else ""
    cells = "".join(map(_cell, row.cells))
    return f"<tr{' class=worst' if worst else ''}><th>{name}{threat}</th>{cells}</tr>"


def _spec(spec: str) -> str:
    """Return a spec that a narrow column breaks after its marks alone, not within its words."""
    broken = re.sub(r"([,[])", r"\1<wbr>", text(spec))
    return f"<code>{broken}</code>"


def _cell(cell: Cell) -> str:
    spans = [f"<span class={line.tone}>{text(line.text)}</span>" for line in cell.lines]
    if cell.accuracy is None:
        return f"<td>{''.join(spans)}</td>"
    harm = _DEEPEST * (1 - cell.accuracy)
    figure = f"<b>{text(cell.lines[0].text)}</b>{''.join(spans[1:])}"
    return f'<td class="figure" style="--share:{harm:.0f}">{figure}</td>'


# -- curves and pictures --------------------------------------------------------------------


def _plot(plot: Plot) -> str:
    key = "".join(
        f'<li class="{series_class(curve)}"><i></i>{text(curve.defense)}</li>'
        for curve in plot.curves
    )
    title = f"<h3><code>{text(plot.title)}</code> <span>accuracy in %</span></h3>"
    return f'<div class="card">{title}{svg(plot)}<ul class="key">{key}</ul></div>'


def _gallery(shown: Gallery) -> str:
    title = f"<code>{text(shown.attack)}</code> <span>against {text(shown.defense)}</span>"
    pictures = "".join(map(_picture, shown.pictures))
    return f'<div class="card"><h3>{title}</h3><div class="pictures">{pictures}</div></div>'


def _picture(picture: Picture) -> str:
    if picture.before is None or picture.said is None:
        return (
            f"<figure>{_img(picture.after)}<figcaption>{text(picture.label)}</figcaption></figure>"
        )
    change = picture.after - picture.before
    most = float(np.abs(change).max(initial=0.0))
    images = [picture.before, picture.after, 0.5 + 0.5 * change / (most if most > 0 else 1.0)]
    now = picture.said[1]
    caption = text(picture.label)
    if now != picture.label:
        caption += f' <span class="turned">→ {text(now)}</span>'
    return f"<figure>{''.join(map(_img, images))}<figcaption>{caption}</figcaption></figure>"


def _img(image: Any) -> str:
    return f'<img alt="" src="{data_uri(image)}">'
