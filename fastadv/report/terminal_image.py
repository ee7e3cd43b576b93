"""Images in a terminal: half-block characters, two pixels a character cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.style import Style
from rich.text import Text

UInt8 = npt.NDArray[np.uint8]

_SHADES = " .:-=+*#%@"  # from black to white
_UPPER_HALF = "▀"


def image_text(
    image: npt.NDArray[Any], *, color: bool = True, bounds: tuple[float, float] = (0.0, 1.0),
    max_width: int = 48,
) -> Text:  # fmt: skip
    """Draw an image.

    Parameters
    ----------
    image : ndarray of shape (H, W), (H, W, 1) or (H, W, 3)
    color : bool
        24-bit colours; else shades of characters, a cell being the mean of its two pixels.
    bounds : tuple of float
        The values of black and white.
    max_width : int
        A wider image is drawn smaller, each cell a mean of pixels.

    Returns
    -------
    Text
        ceil(H / 2) lines of W characters.
    """
    pixels = _shrunk(_to_bytes(image, bounds), max_width)
    return _in_color(pixels) if color else _in_shades(pixels)


def _to_bytes(image: npt.NDArray[Any], bounds: tuple[float, float]) -> UInt8:
    """Return an image of shape (H, W, 3)."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    low, high = bounds
    scaled = np.clip((image - low) / (high - low), 0, 1)
    return np.broadcast_to(np.rint(255 * scaled), (*image.shape[:2], 3)).astype(np.uint8)


def _shrunk(pixels: UInt8, max_width: int) -> UInt8:
    """Return an image (H, W, 3) that is no wider, in its proportions: means over areas."""
    height, width = pixels.shape[:2]
    if width <= max_width:
        return pixels
    rows = _areas(height, max(1, round(height * max_width / width)))
    columns = _areas(width, max_width)
    out: UInt8 = np.rint(np.einsum("ab,bcd,ec->aed", rows, pixels, columns)).astype(np.uint8)
    return out


def _areas(n: int, n_out: int) -> npt.NDArray[np.float64]:
    """Return the share (n_out, n) that each of n pixels has in each of n_out longer ones."""
    edges, size = np.arange(n_out + 1) * (n / n_out), n / n_out
    first, last = edges[:-1, None], edges[1:, None]
    pixel = np.arange(n)
    overlap = np.minimum(pixel + 1, last) - np.maximum(pixel, first)
    out: npt.NDArray[np.float64] = np.maximum(overlap, 0.0) / size
    return out


def _in_color(pixels: UInt8) -> Text:
    lines = []
    for top in range(0, len(pixels), 2):
        line = Text()
        upper = pixels[top]
        lower = pixels[top + 1] if top + 1 < len(pixels) else None
        for column, foreground in enumerate(upper):
            background = "" if lower is None else f" on {_rgb(lower[column])}"
            line.append(_UPPER_HALF, Style.parse(_rgb(foreground) + background))
        lines.append(line)
    return Text("\n").join(lines)


def _rgb(pixel: UInt8) -> str:
    red, green, blue = (int(value) for value in pixel)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _in_shades(pixels: UInt8) -> Text:
    grey = pixels.mean(axis=2)
    if len(grey) % 2:
        grey = np.vstack([grey, np.zeros_like(grey[:1])])
    levels = (grey[0::2] + grey[1::2]) / 2 * (len(_SHADES) - 1) / 255
    rows = np.rint(levels).astype(int)
    return Text("\n".join("".join(_SHADES[level] for level in row) for row in rows))


_ARROWS = "→↗↑↖←↙↓↘"
_TOO_SHORT = 0.25  # pixels: an arrow would say more than there is


def flow_text(flow: npt.NDArray[Any], *, color: bool = True, max_width: int = 48) -> Text:
    """Draw where the ink of an image goes: an arrow for each cell of two pixels.

    Parameters
    ----------
    flow : ndarray of shape (2, H, W)
        (du, dv): how far to the right and down each pixel reads; the ink goes the other way.
    color : bool
        Brighter for longer, up to the longest of this flow.
    max_width : int
        As of `image_text`.
    """
    step = -(-flow.shape[2] // max_width)
    field = -np.asarray(flow, dtype=np.float64)[:, ::step, ::step]
    if field.shape[1] % 2:
        field = np.concatenate([field, field[:, -1:]], axis=1)
    du, dv = (field[:, 0::2] + field[:, 1::2]) / 2
    length = np.hypot(du, dv)
    turn = np.rint(np.arctan2(-dv, du) / (np.pi / 4)).astype(int) % 8
    shade = np.rint(80 + 175 * length / max(float(length.max(initial=0.0)), 1e-12)).astype(int)
    lines = []
    for row in range(len(length)):
        line = Text()
        for column in range(length.shape[1]):
            drawn = length[row, column] >= _TOO_SHORT
            arrow = _ARROWS[turn[row, column]] if drawn else " "
            grey = (int(shade[row, column]),) * 3
            line.append(arrow, Style.parse(_rgb(np.array(grey))) if color and drawn else "")
        lines.append(line)
    return Text("\n").join(lines)


def in_rows(drawings: Sequence[Text], width: int) -> Text:
    """Put drawings beside one another, as many in a row as ``width`` columns have room for."""
    rows = list(drawings[:1])
    for drawing in drawings[1:]:
        longer = beside(rows[-1], drawing)
        if max(line.cell_len for line in longer.split("\n")) <= width:
            rows[-1] = longer
        else:
            rows.append(drawing)
    return Text("\n").join(rows)


def beside(left: Text, right: Text, gap: int = 4) -> Text:
    """Put one drawing to the right of another."""
    left_lines, right_lines = left.split("\n"), right.split("\n")
    width = max(line.cell_len for line in left_lines)
    lines = []
    for a, b in zip_longest(left_lines, right_lines, fillvalue=Text()):
        padding = " " * (width - a.cell_len + gap)
        lines.append(Text.assemble(a, padding, b))
    return Text("\n").join(lines)


def captioned(drawing: Text, caption: str) -> Text:
    """Put a caption above a drawing, cut to its width or 24 characters if that is more."""
    width = max([24, *(line.cell_len for line in drawing.split("\n"))])
    return Text.assemble(caption[:width], "\n", drawing)
