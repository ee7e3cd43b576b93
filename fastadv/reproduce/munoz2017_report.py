"""The figures of `munoz2017`: as tables, as JSON and Markdown, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.report.plots import check_pictures as check_pictures
from fastadv.reproduce.figures import markdown_table, spread, write, write_picture
from fastadv.reproduce.munoz2017 import Curve

CAPTION = (
    "Test error in %, the mean over splits and the standard deviation between them; beside it that "
    "with as many random label flips. Published: read off the paper's figures."
)


def cells(curve: Curve) -> list[list[str]]:
    """Return the rows of a table, the header first."""
    rows = [["points", "share", "optimised", "random flips", "published"]]
    spec = curve.experiment.dataset
    n_train = int(spec.partition("train=")[2].partition(",")[0])
    for column, points in enumerate(curve.points):
        rows.append(
            [
                str(points), f"{points / n_train:.1%}", spread(curve.error[:, column]),
                spread(curve.flipped[:, column]), curve.experiment.published.get(points, ""),
            ]
        )  # fmt: skip
    return rows


def _title(curve: Curve) -> str:
    return f"{curve.experiment.title} ({len(curve.error)} splits)"


def table(curves: Sequence[Curve]) -> RenderableType:
    """Return a table for each experiment."""
    parts: list[RenderableType] = [
        Text("Munoz-Gonzalez et al., AISec 2017: section 4.2", style="bold")
    ]
    for curve in curves:
        header, *rows = cells(curve)
        out = Table(box=box.SIMPLE_HEAD, title=_title(curve), title_justify="left")
        for name in header:
            out.add_column(name, justify="right")
        for row in rows:
            out.add_row(*row)
        parts.append(out)
    return Group(*parts, Text(CAPTION, style="dim"))


def drawing(curves: Sequence[Curve], *, color: bool, width: int) -> Text:  # noqa: ARG001
    """Return nothing: the tables say it all."""
    return Text("")


def save(curves: Sequence[Curve], folder: Path) -> list[str]:
    """Write the numbers as JSON and Markdown and the curves as PNG; return the files' names.

    Raises
    ------
    InputError
        If the folder cannot be made, or matplotlib is not there for the pictures.
    """
    document = {
        "experiments": [
            {
                "title": curve.experiment.title, "points": list(curve.points),
                "published": {str(k): v for k, v in curve.experiment.published.items()},
                "error": np.round(curve.error, 6).tolist(),
                "flipped": np.round(curve.flipped, 6).tolist(),
            }
            for curve in curves
        ],
    }  # fmt: skip
    lines = []
    for curve in curves:
        header, *rows = cells(curve)
        table_lines = markdown_table(header, rows, f"|{' ---: |' * len(header)}")
        lines += [f"**{_title(curve)}**", "", *table_lines, ""]
    return [*write(folder, "munoz2017", document, [*lines, CAPTION]), _picture(curves, folder)]


def _picture(curves: Sequence[Curve], folder: Path) -> str:
    check_pictures()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        for values, name in ((curve.error, "optimised"), (curve.flipped, "random flips")):
            error = values.std(axis=0, ddof=1) if len(values) > 1 else 0.0
            axes.errorbar(curve.points, values.mean(axis=0), error, marker="o", label=name)
        axes.set(title=curve.experiment.title, xlabel="points", ylim=(0, None))
        axes.title.set_fontsize(9)
    figure.axes[0].set_ylabel("test error in %")
    figure.axes[0].legend(frameon=False)
    return write_picture(figure, folder / "munoz2017-error.png")
