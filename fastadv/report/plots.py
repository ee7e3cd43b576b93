"""Pictures of attacked images in a file: SVG, or PNG and PDF with the extra ``plot``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastadv.errors import InputError
from fastadv.files import atomic_write
from fastadv.report.panels import ARROWS, Panel, arrows
from fastadv.report.svg import panels_svg


def check_pictures() -> None:
    """Raise InputError, in one line, unless matplotlib can draw pictures."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            "pictures need matplotlib: pip install matplotlib (or leave out --output)"
        ) from None


def attacked_images(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
    """Draw the rows of attacked images, all with as many panels, into an .svg, .png or .pdf."""
    with atomic_write(path) as stream:
        if path.suffix == ".svg":
            stream.write(panels_svg(rows).encode())
        else:
            kind = path.suffix.removeprefix(".")
            # A file hangs on its images alone, not on the day.
            dated = {"CreationDate": None} if kind == "pdf" else {}
            _figure(rows).savefig(stream, format=kind, dpi=150, metadata=dated)


def _figure(rows: Sequence[Sequence[Panel]]) -> Any:
    """Return a figure of matplotlib, imported only when one is drawn."""
    from matplotlib.figure import Figure

    height, width = max(len(rows), 1), max((len(row) for row in rows), default=1)
    figure = Figure(figsize=(2.6 * width, 2.8 * height), layout="constrained")
    axes = figure.subplots(height, width, squeeze=False)
    for line, row in zip(axes, rows, strict=False):
        for axis, panel in zip(line, row, strict=True):
            _show(axis, panel)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def _show(axis: Any, panel: Panel) -> None:
    image = panel.image
    pixels = image[..., 0] if image.shape[-1] == 1 else np.clip(image, 0, 1)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(panel.caption, fontsize=9, parse_math=False)
    if panel.flow is None:
        return
    found = list(arrows(panel.flow))
    if found:
        axis.quiver(
            *zip(*found, strict=True), color=ARROWS, angles="xy", scale_units="xy", scale=1,
            width=0.005,
        )  # fmt: skip
