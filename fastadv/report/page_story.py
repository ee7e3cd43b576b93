"""The story of one cell on the page: its figures, runs, distances, images and command."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastadv.report.cells import percent
from fastadv.report.page_changes import changed_row
from fastadv.report.page_charts import distances_svg, runs_svg, strips, words
from fastadv.report.png import data_uri
from fastadv.report.story import QUANTILES, value_text

if TYPE_CHECKING:
    from fastadv.grid.row import Flag
    from fastadv.report.gallery import Picture
    from fastadv.report.story import Stated, Story

text = html.escape  # everything that comes from files goes through it


def story_html(name: str, label: str, shown: str, told: Story, n_pictures: int) -> str:
    """Return the story of a cell below its short label and what the table shows of it, closed."""
    title = f"{text(told.attack)} <span>against</span> {text(told.defense)}"
    if told.kind == "clean":
        title = f"clean images <span>with</span> {text(told.defense)}"
    return (
        f'<details class="story"><summary><span>{text(label)}</span> <b>{text(shown)}</b></summary>'
        f'<article id="{text(name)}"><h3 tabindex="-1">{title}</h3>{_headline(told)}'
        f"{_remarks(told)}{pictures(told.pictures[:n_pictures])}"
        f'<div class="columns">{_runs(told)}{_distances(told)}</div>'
        f"{_figures(told)}{_quantiles(told)}{_parts(told)}"
        f"{_facts(told)}<h4>The command that computes it again</h4>"
        f"<pre><code>{text(told.command)}</code></pre></article></details>"
    )


def _headline(told: Story) -> str:
    where = f"{text(told.dataset)} · {text(told.model)}"
    within = f" · {text(str(told.threat))}" if told.threat is not None else ""
    if not told.figures:
        reason = text(told.reason or "no reason was kept")
        return (
            f'<p class="where">{where}{within}</p><p class="bad">{text(told.status)}: {reason}</p>'
        )
    first = told.figures[0]
    unit = first.name if first.unit == "points" else "%"
    interval = _interval(first)
    images = f"{first.figure.n_images:,} images, " if first.figure.n_images else ""
    runs = f"{first.figure.n_runs} run{'s' if first.figure.n_runs != 1 else ''}"
    return (
        f'<p class="where">{where}{within}</p>'
        f'<p class="headline"><b>{percent(first.figure.value)} {unit}</b> {text(first.meaning)}'
        f"{f'; 95 % interval {interval}' if interval else ''} ({images}{runs})</p>"
    )


def _interval(stated: Stated) -> str:
    figure = stated.figure
    if figure.low is None or figure.high is None:
        return ""
    return f"{percent(figure.low)} to {percent(figure.high)}"


def _remarks(told: Story) -> str:
    flags = "".join(_remark(flag, "flag") for flag in told.flags)
    return flags + "".join(_remark(note, "note") for note in told.notes)


def _remark(remark: Flag, kind: str) -> str:
    remedy = f" {text(remark.remedy)}." if remark.remedy else ""
    return (
        f'<p class="remark {kind}"><b>{text(remark.name)}</b> {text(remark.message)}.{remedy}</p>'
    )


# -- images ---------------------------------------------------------------------------------


def pictures(shown: Iterable[Picture]) -> str:
    """Return images side by side: before, attacked and their difference, or the poison alone.

    Of rows of a table what changed of each.
    """
    shown = list(shown)
    if not shown:
        return ""
    if shown[0].changes is not None:
        turned = sorted(shown, key=lambda one: one.changes is None or not one.changes.columns)
        return f'<div class="rows">{"".join(map(changed_row, turned))}</div>'
    moved = shown[0].before is not None
    labels = ("image", "attacked", "difference", "class") if moved else ("poison", "label")
    names = "".join(f"<span>{label}</span>" for label in labels)
    kind = "" if moved else " points"
    return (
        f'<div class="pictures{kind}"><div aria-hidden="true">{names}</div>'
        f"{''.join(map(_picture, shown))}</div>"
    )


def _picture(picture: Picture) -> str:
    if picture.before is None or picture.said is None:
        caption = f"<figcaption>{text(picture.label)}</figcaption>"
        return f"<figure>{_img(picture.after, 'poison')}{caption}</figure>"
    change = picture.after - picture.before
    most = float(np.abs(change).max(initial=0.0))
    difference = 0.5 + 0.5 * change / (most if most > 0 else 1.0)
    images = (
        _img(picture.before, "before the attack")
        + _img(picture.after, "attacked")
        + _img(difference, "difference")
    )
    now = picture.said[1]
    caption = text(picture.label)
    if now != picture.label:
        caption += f' <span class="turned">→ {text(now)}</span>'
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _img(image: Any, alt: str) -> str:
    return f'<img alt="{alt}" src="{data_uri(image)}">'


# -- figures --------------------------------------------------------------------------------


def _runs(told: Story) -> str:
    shown = strips(told)
    if not shown:
        return ""
    unit = "points of clean accuracy" if told.kind == "poisoning" else "accuracy in %"
    drawn = f", {told.draws} draw{'s' if told.draws > 1 else ''} of the poison" * (told.draws > 0)
    return (
        f"<div><h4>Its {len(shown[0].values)} runs <span>{unit}; a point a training{drawn}</span>"
        f"</h4>{runs_svg(shown)}</div>"
    )


def _distances(told: Story) -> str:
    if not told.distances:
        return ""
    first = told.distances[0]
    varied = [d for d in told.distances if float(np.ptp(d.values)) > 1e-3 * float(d.values.max())]
    shown = first if first in varied or not varied else varied[0]
    n = f"{len(shown.values):,} images that the attack turned at any distance"
    return f"<div><h4>{text(words(shown.name))} <span>{n}</span></h4>{distances_svg(shown)}</div>"


def _figures(told: Story) -> str:
    rows = [
        [
            f"{text(one.name)} <span>{text(one.meaning)}</span>",
            percent(one.figure.value),
            _interval(one),
        ]
        for one in told.figures
    ]
    found = _table(["figure", "value", "95 % interval"], rows)
    outcome = told.outcome
    if outcome is not None:
        found += (
            f"<p>Of {outcome.n:,} images {outcome.wrong:,} were wrong before the attack, "
            f"{outcome.turned:,} were turned within the budget, {outcome.beyond:,} only beyond it, "
            f"and {outcome.never:,} not at all.</p>"
        )
    return found


def _quantiles(told: Story) -> str:
    heads = ["distance", *(f"{100 * q:g} %" for q in QUANTILES)]
    rows = [[text(words(one.name)), *map(_short, one.quantiles)] for one in told.distances]
    return _table(heads, rows)


def _parts(told: Story) -> str:
    rows = [
        [f"<code>{text(attack)}</code>", "-" if figure is None else percent(figure.value)]
        for attack, figure in told.parts
    ]
    missing = ", ".join(told.missing)
    absent = f"<p>Without {text(missing)}, with which it could only be lower.</p>" * bool(missing)
    return _table(["attack", "accuracy"], rows) + absent


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a small table of cells that are HTML already; nothing without rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{one}</td>" for one in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="scroll plain"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _facts(told: Story) -> str:
    """Return the parameters, what the attack and a sanitizer did, and what it took."""
    names = {"attack": told.attack, "defense": told.defense, "model": told.model}
    shown: dict[str, Mapping[str, Any]] = {
        f"{kind} {names.get(kind, '')}": of for kind, of in told.parameters.items()
    }
    shown |= {
        "poison": {name: f"{value:.6g}" for name, value in (told.poison or {}).items()},
        "the attack chose": told.found,
        "sanitizer, in %": {name: percent(share) for name, share in (told.sanitized or {}).items()},
        "passes an image": {name: f"{n:,.1f}" for name, n in told.queries.items()},
        "seconds": {name: f"{value:.1f}" for name, value in told.seconds.items()},
    }
    lists = "".join(_list(title, of) for title, of in shown.items() if of)
    return f'<div class="facts">{lists}</div>' if lists else ""


def _list(title: str, of: Mapping[str, Any]) -> str:
    items = "".join(
        f"<div><dt>{text(str(name))}</dt><dd>{text(value_text(value, ', '))}</dd></div>"
        for name, value in of.items()
    )
    return f"<section><h4>{text(title)}</h4><dl>{items}</dl></section>"


def _short(value: float) -> str:
    return "0" if abs(value) < 1e-6 else f"{value:.3g}"
