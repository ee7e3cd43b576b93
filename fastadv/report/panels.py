"""What a picture of an attacked image shows: before, its flow, after, and the difference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

ARROWS = "#ff4b3e"  # seen on black, on white and on grey


@dataclass(frozen=True)
class Panel:
    """One image of a row.

    Attributes
    ----------
    caption : str
    image : ndarray of shape (H, W, C)
        From 0, black, to 1.
    flow : ndarray of shape (2, H, W) or None
        (du, dv), how far to the right and down each pixel reads, to be drawn over the image.
    """

    caption: str
    image: Pixels
    flow: Pixels | None = None


def panels(
    before: Pixels, after: Pixels, captions: tuple[str, str], bounds: tuple[float, float],
    *, flow: Pixels | None = None, with_flow: bool = False,
) -> tuple[Panel, ...]:  # fmt: skip
    """Return the row of one image.

    Parameters
    ----------
    before, after : ndarray of shape (H, W, C)
    captions : tuple of str
        Of the two.
    bounds : tuple of float
        The values of black and white.
    flow : ndarray of shape (2, H, W) or None
        As `Panel` has it.
    with_flow : bool
        Whether the row has a panel for the flow; without a flow it says that there is none.
    """
    low, high = bounds
    first, last = ((np.asarray(x, np.float64) - low) / (high - low) for x in (before, after))
    made = [Panel(captions[0], first), Panel(captions[1], last), _difference(first, last, bounds)]
    if with_flow:
        made.insert(1, Panel("unchanged" if flow is None else _longest(flow), first, flow))
    return tuple(made)


def _longest(flow: Pixels) -> str:
    return f"flow: {np.hypot(*flow).max():.1f} px at most"


def _difference(first: Pixels, last: Pixels, bounds: tuple[float, float]) -> Panel:
    """Return what was added: grey where nothing was, white and black where it was most."""
    difference = last - first
    most = float(np.abs(difference).max())
    if most == 0:
        return Panel("no difference", np.full_like(first, 0.5))
    caption = f"difference: {most * (bounds[1] - bounds[0]):.2g} at most"
    return Panel(caption, 0.5 + difference / (2 * most))


def arrows(flow: Pixels) -> Iterator[tuple[float, float, float, float]]:
    """Yield x, y, dx, dy of arrows at true length that show where the ink goes.

    That is the opposite of where a pixel reads. Each is the longest of a square of pixels, so
    large that at most 28 stand in a row and few cross.
    """
    length = np.hypot(*flow)
    seen = length > 0.05  # pixels: less would be a dot
    typical = float(np.median(length[seen])) if seen.any() else 1.0
    step = max(-(-max(length.shape) // 28), math.ceil(typical))
    for top in range(0, length.shape[0], step):
        for left in range(0, length.shape[1], step):
            square = length[top : top + step, left : left + step]
            row, column = np.unravel_index(square.argmax(), square.shape)
            y, x = top + int(row), left + int(column)
            if seen[y, x]:
                yield float(x), float(y), -float(flow[0, y, x]), -float(flow[1, y, x])
