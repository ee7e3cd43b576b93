"""A grid as one page of HTML that needs no other file and no network.

All of it stands in the page as text; its script only sorts, filters and opens what is there.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from fastadv.report.command import grid_command
from fastadv.report.curves import Plot, plots, series_class, svg
from fastadv.report.export import rows_json, write_csv
from fastadv.report.gallery import Gallery, galleries
from fastadv.report.page_story import pictures, story_html
from fastadv.report.page_table import Stories, link, table
from fastadv.report.summary import Summary, summaries
from fastadv.report.verdict import verdict

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult

_PIXELS = 4_000_000  # of the pictures in all stories, about as many bytes
_WIDE = 8  # defenses, beyond which a printed page is turned
_LISTED = 30  # cells, of which a list is short
_SHADES = 100  # of the colour of harm; classes, because the policy lets no element have a style

text = html.escape  # everything that comes from files goes through it


def grid_html(result: GridResult) -> str:
    """Return the page: the table, what follows from it, curves, pictures and every cell's story."""
    stories = Stories(result)
    sheets = summaries(result)
    title = sheets[0].title if len(sheets) == 1 else "A grid of attacks and defenses"
    tables = [_sheet(sheet, stories, result, alone=len(sheets) == 1) for sheet in sheets]
    curves, shown = plots(result), galleries(result)
    problems = "".join(f'<p class="bad">{text(problem)}</p>' for problem in result.problems)
    body = [
        f"<header><h1>{text(title)}</h1>{problems}</header><main>", *tables,
        _cards("Accuracy over the budget", map(_plot, curves)),
        *_galleries(shown, stories),
        _cells(stories), _origin(result), "</main>",
    ]  # fmt: skip
    return _page(f"fastadv: {title}", "\n".join(body))


# -- the page around it ---------------------------------------------------------------------


def _page(title: str, body: str) -> str:
    folder = files("fastadv.report")
    style = (folder / "page.css").read_text(encoding="utf-8") + "".join(
        f".h{share}{{--share:{share}%}}" for share in range(_SHADES + 1)
    )
    script = (folder / "page.js").read_text(encoding="utf-8")
    # A browser runs and loads nothing but what stands in the page itself, and of scripts this one.
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head><body>\n"
        f"{body}\n<script>{script}</script></body></html>\n"
    )


def _hash(content: str) -> str:
    """Return how a policy names a script or a style (W3C Content Security Policy 3, 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


# -- sections -------------------------------------------------------------------------------


def _sheet(sheet: Summary, stories: Stories, result: GridResult, *, alone: bool) -> str:
    said = "".join(f"<li>{text(one)}</li>" for one in verdict(sheet, result.samples))
    heading = "Results" if alone else text(sheet.title)
    follows = f"<h3>What follows</h3><ul class='verdict'>{said}</ul>" if said else ""
    kind = "sheet wide" if len(sheet.defenses) > _WIDE else "sheet"
    return f'<section class="{kind}"><h2>{heading}</h2>{table(sheet, stories)}{follows}</section>'


def _cards(title: str, cards: Iterable[str], legend: str = "") -> str:
    cards = list(cards)
    if not cards:
        return ""
    below = f'<p class="legend">{text(legend)}</p>' if legend else ""
    return (
        f'<section><h2>{text(title)}</h2>{below}<div class="cards">{"".join(cards)}</div></section>'
    )


def _plot(plot: Plot) -> str:
    key = "".join(
        f'<li class="{series_class(curve)}"><i></i>{text(curve.defense)}</li>'
        for curve in plot.curves
    )
    title = f"<h3><code>{text(plot.title)}</code> <span>accuracy in %</span></h3>"
    return f'<div class="card">{title}{svg(plot)}<ul class="key">{key}</ul></div>'


_IMAGES = (
    "The difference is drawn around grey and stretched to the largest; it is plain grey where the "
    "attack failed or the model was wrong before. Below it the true class, and what the defended "
    "model says in its place."
)
_ROWS = (
    "Of each row the true class, what the defended model says in its place, and the columns that "
    "changed most, in the units of the table: a hollow dot is the value before, a full one that "
    "after. None changed where the attack failed or the model was wrong before."
)
_POINTS = "Below each poison point the label that it is given."
_POINT_ROWS = "Of each poison point its label, and what is not as in the row that it started as."


def _galleries(shown: Sequence[Gallery], stories: Stories) -> list[str]:
    """Return the cards of attacked images and of poison, or of rows of a table."""
    rows = any(picture.changes is not None for one in shown for picture in one.pictures)
    of = {kind: [_gallery(one, stories) for one in shown if one.kind == kind]
          for kind in ("evasion", "poisoning")}  # fmt: skip
    what = "rows" if rows else "images"
    return [
        _cards(f"What the attacks make of {what}", of["evasion"], _ROWS if rows else _IMAGES),
        _cards(
            "What is added to the training set", of["poisoning"], _POINT_ROWS if rows else _POINTS
        ),
    ]


def _gallery(shown: Gallery, stories: Stories) -> str:
    name = f"cell={shown.attack}/{shown.defense}"
    title = f"<code>{text(shown.attack)}</code> <span>against {text(shown.defense)}</span>"
    if name in stories.told:
        title = f'<a href="{text(link(name))}">{title}</a>'
    return f'<div class="card"><h3>{title}</h3>{pictures(shown.pictures)}</div>'


def _cells(stories: Stories) -> str:
    told = "".join(
        story_html(name, label, shown, one, _pictures(stories))
        for name, (label, shown, one) in stories.told.items()
    )
    if not told:
        return ""
    listed = " open" if len(stories.told) <= _LISTED else ""
    return (
        f'<details id="cells"{listed}><summary><h2>Cell by cell</h2></summary>'
        f"<div>{told}</div></details>"
    )


def _pictures(stories: Stories) -> int:
    """Return how many pictures a story has: fewer where many large ones make the page too large."""
    a_picture = sum(
        3 * told.pictures[0].after.size for *_, told in stories.told.values() if told.pictures
    )
    return max(_PIXELS // max(a_picture, 1), 1)


def _origin(result: GridResult) -> str:
    """Return the command that asks for it again, what it ran on, and its rows to take along."""
    environment = "".join(
        f"<div><dt>{text(str(name))}</dt><dd>{text(str(value))}</dd></div>"
        for name, value in result.environment.items()
    )
    command = f"<pre><code>{text(grid_command(result.grid))}</code></pre>" if result.grid else ""
    rows = io.StringIO()
    write_csv(result.table(), rows)
    return (
        f'<section><h2>How it was made</h2>{command}<dl class="line">{environment}</dl><p>'
        f"{_download('rows.json', 'application/json', rows_json(result))} "
        f"{_download('rows.csv', 'text/csv', rows.getvalue())}</p></section>"
    )


def _download(name: str, kind: str, content: str) -> str:
    coded = base64.b64encode(content.encode()).decode()
    return (
        f'<a class="button" download="{name}" href="data:{kind};charset=utf-8;base64,{coded}">'
        f"Download {name}</a>"
    )
