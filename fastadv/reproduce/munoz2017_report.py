"""The figures of `munoz2017`: as tables, as JSON and Markdown, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.arrays import Float64
from fastadv.files import atomic_write, make_folder
from fastadv.report.pictures import check_pictures as check_pictures
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
                str(points), f"{points / n_train:.1%}", _spread(curve.error[:, column]),
                _spread(curve.flipped[:, column]), curve.experiment.published.get(points, ""),
            ]
        )  # fmt: skip
    return rows


def _spread(values: Float64) -> str:
    return f"{values.mean():.1f} ± {values.std(ddof=1) if len(values) > 1 else 0.0:.1f}"


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
    make_folder(folder)
    texts = {"munoz2017.json": _json(curves), "munoz2017.md": _markdown(curves)}
    for name, text in texts.items():
        with atomic_write(folder / name) as stream:
            stream.write(text.encode())
    _picture(curves, folder)
    return [*texts, "munoz2017-error.png"]


def _json(curves: Sequence[Curve]) -> str:
    document = {
        "schema": 1,
        "paper": "munoz2017",
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
    return json.dumps(document, indent=1) + "\n"


def _markdown(curves: Sequence[Curve]) -> str:
    lines = []
    for curve in curves:
        header, *rows = cells(curve)
        lines += [f"**{_title(curve)}**", "", f"| {' | '.join(header)} |"]
        lines += [f"|{' ---: |' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, CAPTION]) + "\n"


def _picture(curves: Sequence[Curve], folder: Path) -> None:
    check_pictures()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        for values, name in ((curve.error, "optimised"), (curve.flipped, "random flips")):
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else 0.0
            axes.errorbar(curve.points, values.mean(axis=0), spread, marker="o", label=name)
        axes.set(title=curve.experiment.title, xlabel="points", ylim=(0, None))
        axes.title.set_fontsize(9)
    figure.axes[0].set_ylabel("test error in %")
    figure.axes[0].legend(frameon=False)
    with atomic_write(folder / "munoz2017-error.png") as stream:
        FigureCanvasAgg(figure).print_png(stream)
