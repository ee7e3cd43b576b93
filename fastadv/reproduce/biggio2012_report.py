"""The figures of `biggio2012`: as a table, as JSON and Markdown, as drawings and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from fastadv.report.plots import check_pictures as check_pictures
from fastadv.report.terminal_image import captioned, image_text, in_rows
from fastadv.reproduce.biggio2012 import MOST_POINTS, PUBLISHED, Pair
from fastadv.reproduce.figures import markdown_table, spread, write, write_picture

CAPTION = (
    "Test error of a linear SVM in %, trained on 100 images and the points (C = 1): the mean over "
    "{splits} splits and the standard deviation between them. Below each, the same number of "
    "training images with the other label and left as they are. Published: of all three pairs; for "
    "more than one point the paper has curves alone."
)


def cells(pairs: Sequence[Pair]) -> list[list[str]]:
    """Return the rows of the table, their header first."""
    rows = [["points", *(pair.title for pair in pairs), "published"]]
    for points in range(MOST_POINTS + 1):
        moved = [spread(pair.error[:, points]) for pair in pairs]
        rows.append([str(points), *moved, PUBLISHED.get(points, "")])
        if points:
            rows.append(["  flips", *(spread(pair.flipped[:, points]) for pair in pairs), ""])
    return rows


def caption(pairs: Sequence[Pair]) -> str:
    """Return what the numbers are."""
    return CAPTION.format(splits=len(pairs[0].error))


def table(pairs: Sequence[Pair]) -> Table:
    """Return the test error against the number of points."""
    header, *rows = cells(pairs)
    out = Table(box=box.SIMPLE_HEAD, title="Biggio, Nelson and Laskov, ICML 2012: section 4.2")
    out.caption, out.caption_justify = caption(pairs), "left"
    for name in header:
        out.add_column(name, justify="left" if name == "points" else "right")
    for row in rows:
        out.add_row(*row, style="dim" if row[0].strip() == "flips" else "")
    return out


def drawing(pairs: Sequence[Pair], *, color: bool, width: int) -> Text:
    """Draw the first split's single point of each pair, where it started and where it ended."""
    drawings = []
    for pair in pairs:
        label = pair.name.partition("-")[2]
        start = captioned(image_text(pair.start, color=color), f"{pair.title}: as it started")
        end = captioned(image_text(pair.end, color=color), f"added, labelled {label}")
        drawings.append(Text.assemble(in_rows([start, end], width), "\n"))
    return Text("\n").join(drawings)


def save(pairs: Sequence[Pair], folder: Path) -> list[str]:
    """Write the numbers as JSON and Markdown and the pictures as PNG; return the files' names.

    Raises
    ------
    InputError
        If the folder cannot be made, or matplotlib is not there for the pictures.
    """
    document = {
        "published": {str(points): text for points, text in PUBLISHED.items()},
        "pairs": [
            {
                "pair": pair.title, "points": list(range(MOST_POINTS + 1)),
                "error": np.round(pair.error, 6).tolist(),
                "flipped": np.round(pair.flipped, 6).tolist(),
            }
            for pair in pairs
        ],
    }  # fmt: skip
    header, *rows = cells(pairs)
    lines = markdown_table(header, rows, f"| --- |{' ---: |' * (len(header) - 1)}")
    names = write(folder, "biggio2012", document, [*lines, "", caption(pairs)])
    return names + _pictures(pairs, folder)


def _pictures(pairs: Sequence[Pair], folder: Path) -> list[str]:
    check_pictures()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(pairs), 3), layout="constrained")
    for axes, pair in zip(
        figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0], pairs, strict=True
    ):
        points = np.arange(MOST_POINTS + 1)
        for values, name in ((pair.error, "optimised"), (pair.flipped, "flipped alone")):
            error = values.std(axis=0, ddof=1) if len(values) > 1 else 0.0
            axes.errorbar(points, values.mean(axis=0), error, marker="o", capsize=3, label=name)
        axes.set(title=pair.title, xlabel="points added to 100")
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[0].set_ylabel("test error in %")
    figure.axes[0].legend(frameon=False)
    names = [write_picture(figure, folder / "biggio2012-error.png")]

    figure = Figure(figsize=(2.2 * len(pairs), 4.6), layout="constrained")
    for column, pair in enumerate(pairs):
        label = pair.name.partition("-")[2]
        for row, (image, name) in enumerate(
            ((pair.start, f"{pair.title}: as it started"), (pair.end, f"added, labelled {label}"))
        ):
            axes = figure.add_subplot(2, len(pairs), row * len(pairs) + column + 1)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            axes.set_title(name, fontsize=9)
            axes.axis("off")
    return [*names, write_picture(figure, folder / "biggio2012-points.png")]
