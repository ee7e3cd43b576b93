"""Time and memory against size, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastadv.benchmarks.scaling import Point
from fastadv.files import atomic_write


def scaling_plot(path: Path, points: Sequence[Point]) -> None:
    """Draw time, and memory where it is known, against size: a panel for each curve, log to log."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    curves: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        curves.setdefault((point.work, point.by), []).append(point)
    columns = min(len(curves), 4)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.3 * columns, 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    for axis, ((work, by), curve) in zip(axes.flat, curves.items(), strict=False):
        sizes = [point.size for point in curve]
        axis.loglog(sizes, [point.seconds for point in curve], "o-", color="tab:blue")
        linear = [curve[0].seconds * size / sizes[0] for size in sizes]
        axis.loglog(sizes, linear, ":", color="tab:gray")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_title(work, fontsize=9)
        axis.set_xlabel(by, fontsize=8)
        axis.set_ylabel("seconds (dotted: linear)", color="tab:blue", fontsize=7)
        axis.tick_params(labelsize=7)
        memory = [(point.size, point.memory) for point in curve if point.memory]
        if memory:
            other = axis.twinx()
            other.plot(*zip(*memory, strict=True), "s--", color="tab:orange", markersize=3)
            other.set_ylim(bottom=0)
            other.set_ylabel("MiB", color="tab:orange", fontsize=7)
            other.tick_params(labelsize=7)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30)
        axis.set_xticks([], minor=True)
    with atomic_write(path) as stream:
        figure.savefig(stream, format=path.suffix.removeprefix("."), dpi=150)
