"""Colours of figures by the harm that they tell of: points of clean accuracy lost to an attack.

One hue that grows stronger, so that it needs no eye for hues, and about as bright as can be read on
black and on white alike: the contrast is above 4 on either (WCAG 2.2, 1.4.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

# From so many points on; the second is of terminals of 16 colours, whose yellow is not for light
# ones.
_LEVELS = ((50, "#d4480c", "red"), (20, "#b06a2c", "magenta"), (5, "#8d775f", ""))


def style(lost: float | None, console: Console) -> str:
    """Return the style of a figure by the accuracy lost, a share; plain where that is not known."""
    if lost is None:
        return ""
    few = console.color_system in ("standard", "windows")
    points = round(100 * lost, 1)  # as it is printed
    for least, strong, plain in _LEVELS:
        if points >= least:
            return plain if few else strong
    return ""


def key(console: Console) -> Text | None:
    """Return the line that says what the colours mean; None where there are none."""
    if console.color_system is None or console.no_color:
        return None
    styles = {least: style(least / 100, console) for least, *_ in reversed(_LEVELS)}
    numbers = [Text(str(least), style=colour) for least, colour in styles.items() if colour]
    *first, last = numbers
    return Text.assemble(
        " Coloured from ", Text(", ").join(first), " and ", last,
        " points of clean accuracy lost.",
    )  # fmt: skip
