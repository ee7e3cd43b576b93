"""Rows of a table on the page: the columns that changed most, each with a strip of its range."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastadv.report.changes import Change
    from fastadv.report.gallery import Picture

text = html.escape  # everything that comes from files goes through it

_WIDTH, _HEIGHT, _EDGE = 100, 10, 5  # of a strip, and what is left beside its ends


def changed_row(picture: Picture) -> str:
    """Return what the model says of a row of a table, and a line for each column that is shown."""
    changes = picture.changes
    assert changes is not None
    label = text(picture.label)
    if picture.said is None:
        caption = f"labelled <b>{label}</b>"
    elif picture.said[0] != picture.label:
        caption = f"{label}, wrong before: {text(picture.said[0])}"
    elif picture.said[1] != picture.label:
        caption = f'{label} <span class="turned">→ {text(picture.said[1])}</span>'
    else:
        caption = f"{label} stays"
    if picture.distance:
        caption += f" at {picture.distance:.3g}"
    head = "".join(
        f'<th scope="col">{word}</th>' for word in ("column", "before", "after", "of its range")
    )
    lines = "".join(map(_line, changes.columns))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>" * bool(lines)
    return (
        f'<figure class="row"><figcaption>{caption} <span>{text(changes.said)}</span></figcaption>'
        f"{table}</figure>"
    )


def _line(change: Change) -> str:
    before, after = (_EDGE + place * (_WIDTH - 2 * _EDGE) for place in change.places)
    middle = _HEIGHT / 2
    strip = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="from '
        f'{change.places[0]:.2f} to {change.places[1]:.2f} of its range">'
        f'<line class="grid" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{middle}" y2="{middle}"/>'
        f'<line class="move" x1="{before:.1f}" x2="{after:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="from" cx="{before:.1f}" cy="{middle}" r="3"/>'
        f'<circle class="to" cx="{after:.1f}" cy="{middle}" r="3"/></svg>'
    )
    return (
        f'<tr><th scope="row">{text(change.name)}</th><td>{text(change.before)}</td>'
        f"<td>{text(change.after)}</td><td>{strip}</td></tr>"
    )
