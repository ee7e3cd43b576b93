"""Pictures, with matplotlib: an extra, so imported only when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.files import atomic_write

Pixels = npt.NDArray[Any]


def check_pictures() -> None:
    """Raise InputError, in one line, unless pictures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            "pictures need matplotlib: pip install 'fastadv[plot]' (or leave out --output)"
        ) from None


def attacked_images(
    path: Path,
    *,
    images: Sequence[tuple[Pixels, Pixels]],
    captions: Sequence[tuple[str, str]],
    flows: Sequence[Pixels | None],
    bounds: tuple[float, float],
) -> None:
    """Draw each image before and after in a row, with its flow as arrows between them.

    Parameters
    ----------
    images : sequence of pairs of ndarray (H, W, C)
    captions : sequence of pairs of str
    flows : sequence of ndarray (2, H, W) or None
        (du, dv), how far to the right and down each pixel reads. The arrows show where the ink
        goes, the opposite.
    bounds : tuple of float
        The values of black and white.
    """
    from matplotlib.figure import Figure

    columns = 3 if any(flow is not None for flow in flows) else 2
    figure = Figure(figsize=(2.6 * columns, 2.8 * max(len(images), 1)), layout="constrained")
    axes = figure.subplots(max(len(images), 1), columns, squeeze=False)
    for row, (pair, texts, flow) in enumerate(zip(images, captions, flows, strict=True)):
        for column, image, text in zip((0, columns - 1), pair, texts, strict=True):
            _show(axes[row, column], image, bounds, text)
        if columns == 3:
            _show(axes[row, 1], pair[0], bounds, "unchanged" if flow is None else "flow")
            if flow is not None:
                _arrows(axes[row, 1], flow)
    for axis in axes.flat:
        axis.set_axis_off()
    with atomic_write(path) as stream:
        figure.savefig(stream, format=path.suffix.removeprefix("."), dpi=150)


def _show(axis: Any, image: Pixels, bounds: tuple[float, float], text: str) -> None:
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    axis.imshow(pixels, cmap="gray", vmin=bounds[0], vmax=bounds[1], interpolation="nearest")
    axis.set_title(text, fontsize=9)


def _arrows(axis: Any, flow: Pixels) -> None:
    """Draw the flow at true length, by at most 28 arrows in a row, few of which cross."""
    length = np.hypot(*flow)
    seen = length > 0.05  # pixels: less would be a dot
    typical = float(np.median(length[seen])) if seen.any() else 1.0
    step = max(-(-max(flow.shape[1:]) // 28), math.ceil(typical))
    chosen = np.zeros_like(seen)
    chosen[step // 2 :: step, step // 2 :: step] = True
    rows, columns = np.nonzero(chosen & seen)
    u, v = -flow[:, rows, columns]
    axis.quiver(
        columns, rows, u, v, color="tab:red", angles="xy", scale_units="xy", scale=1, width=0.005
    )
