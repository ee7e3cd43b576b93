"""Pictures as SVG, without another library: rows of images, and what a terminal would show.

They ask nothing of the network, have a ground of their own, so that they are read on white and on
black pages, and are made of the same bytes each time.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

from fastadv.report.panels import ARROWS, Panel, arrows
from fastadv.report.png import data_uri

if TYPE_CHECKING:
    from rich.console import RenderableType

# -- rows of images -------------------------------------------------------------------------

_SIDE, _GAP, _CAPTION = 168, 14, 22  # pixels: of an image's longer side, between two, above each
_LONGEST = 28  # characters of a caption


def panels_svg(rows: Sequence[Sequence[Panel]]) -> str:
    """Return a picture of rows of images with their captions, flows as arrows over them."""
    shape = rows[0][0].image.shape if rows else (1, 1)
    scale = _SIDE / max(shape[:2])
    height, width = scale * shape[0], scale * shape[1]
    down, right = height + _CAPTION + _GAP, max(width, _SIDE) + _GAP
    parts = [
        _panel(panel, _GAP + right * column, _GAP + down * line, scale)
        for line, row in enumerate(rows)
        for column, panel in enumerate(row)
    ]
    whole = _GAP + right * max(map(len, rows), default=0), _GAP + down * len(rows)
    label = _text("; ".join(", ".join(panel.caption for panel in row) for row in rows))
    size = f'width="{whole[0]:.0f}" height="{whole[1]:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'viewBox="0 0 {whole[0]:.0f} {whole[1]:.0f}" role="img" aria-label="{label}">',
            f'<rect {size} rx="8" fill="#fff"/>',
            '<g font-family="system-ui, sans-serif" font-size="12" fill="#1f2328">',
            *parts,
            "</g>",
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, x: float, y: float, scale: float) -> str:
    height, width = panel.image.shape[:2]
    text = panel.caption
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    parts = [
        f'<g transform="translate({x:.1f} {y:.1f})"><text y="14">{_text(text)}</text>'
        f'<image y="{_CAPTION}" width="{scale * width:.1f}" height="{scale * height:.1f}" '
        'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{data_uri(panel.image)}"/>'
    ]
    if panel.flow is not None:
        drawn = "".join(_arrow(*arrow) for arrow in arrows(panel.flow))
        parts.append(
            f'<path transform="translate(0 {_CAPTION}) scale({scale:.4f})" fill="none" '
            f'stroke="{ARROWS}" stroke-width=".24" stroke-linecap="round" d="{drawn}"/>'
        )
    return "".join(parts) + "</g>"


def _arrow(x: float, y: float, dx: float, dy: float) -> str:
    """Return the path of an arrow from the middle of a pixel, in pixels of the image."""
    x, y = x + 0.5 + dx, y + 0.5 + dy  # of the point
    angle, side = math.atan2(dy, dx), 0.4 * min(1.0, math.hypot(dx, dy))
    left, right = angle + 2.6, angle - 2.6
    return (
        f"M{x - dx:.2f} {y - dy:.2f}L{x:.2f} {y:.2f}"
        f"M{x + side * math.cos(left):.2f} {y + side * math.sin(left):.2f}L{x:.2f} {y:.2f}"
        f"L{x + side * math.cos(right):.2f} {y + side * math.sin(right):.2f}"
    )


# -- a terminal -----------------------------------------------------------------------------

_GROUND, _INK = (0x0D, 0x11, 0x17), (0xF0, 0xF2, 0xF4)

# Rich's own template asks a server for its font.
_TERMINAL = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"
viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, monospace }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>
<g transform="translate({terminal_x} 10)" class="{unique_id}-matrix">
{backgrounds}
{matrix}
</g>
</svg>
"""


def terminal_svg(printed: RenderableType, width: int = 80) -> str:
    """Return a picture of what a terminal of ``width`` columns shows of something printed."""
    from rich.color_triplet import ColorTriplet
    from rich.console import Console
    from rich.terminal_theme import SVG_EXPORT_THEME

    # Nothing of the terminal that this runs in is in the picture.
    terminal = Console(
        record=True, file=io.StringIO(), width=width, force_terminal=True, legacy_windows=False,
        color_system="truecolor", no_color=False, highlight=False, markup=False, emoji=False,
        _environ={},
    )  # fmt: skip
    terminal.print(printed)
    theme = copy(SVG_EXPORT_THEME)  # with more contrast
    theme.background_color, theme.foreground_color = ColorTriplet(*_GROUND), ColorTriplet(*_INK)
    drawn = terminal.export_svg(theme=theme, code_format=_TERMINAL, unique_id="t")
    return re.sub(r">(?=<text|<clipPath)", ">\n", _legal(drawn))


# -- text -----------------------------------------------------------------------------------


def _text(text: str) -> str:
    return html.escape(_legal(text))


def _legal(text: str) -> str:
    """Return a text without the characters that XML cannot hold (XML 1.0, section 2.2)."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
