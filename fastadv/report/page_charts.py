"""Small drawings of one cell as SVG: its runs as points, and how far its images were moved."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastadv.report.story import QUANTILES

if TYPE_CHECKING:
    from fastadv.grid.row import Figure, Run
    from fastadv.report.story import Distance, Story

_WIDTH, _MARGIN = 380, 14  # in units of the drawing, about pixels
_DOT = 8  # between the middles of two points beside one another
_ROUNDING = 2e-5  # of a distance that counts as within the budget (`Threat.reach`)
_STRIP, _AXIS, _BARS = 60, 22, 130  # heights: of one strip of points, of the axis, of the bars


@dataclass(frozen=True)
class Strip:
    """What was measured in each run, in per cent or points, and the figure made of it."""

    name: str
    values: tuple[float, ...]
    figure: Figure | None


def strips(story: Story) -> list[Strip]:
    """Return the strips of a cell: its own, and beside it what it is to be compared with."""
    if story.kind == "poisoning":
        found = [
            Strip("points lost", _lost(story.runs, "attacked_accuracy"), story.lost),
            Strip("random flips", _lost(story.runs, "baseline_accuracy"), story.flips_lost),
        ]
    else:
        found = [Strip("accuracy", _shares(story.runs), story.figure)]
    return [strip for strip in found if len(strip.values) > 1]


def _shares(runs: Sequence[Run]) -> tuple[float, ...]:
    return tuple(100 * run.attacked_accuracy for run in runs if run.attacked_accuracy is not None)


def _lost(runs: Sequence[Run], name: str) -> tuple[float, ...]:
    return tuple(
        100 * (run.clean_accuracy - getattr(run, name))
        for run in runs
        if run.clean_accuracy is not None and getattr(run, name) is not None
    )


def runs_svg(shown: Sequence[Strip]) -> str:
    """Draw strips one below the other over one axis: a point a run, the mean and its interval."""
    ends = [x for strip in shown for x in (*strip.values, *_interval(strip.figure))]
    axis = _Axis.around(min(ends), max(ends))
    height = _STRIP * len(shown) + _AXIS
    parts = [axis.drawn(0, height - _AXIS)]
    for number, strip in enumerate(shown):
        middle = _STRIP * number + 36
        parts.append(f'<text x="{_MARGIN}" y="{middle - 24}">{html.escape(strip.name)}</text>')
        if strip.figure is not None:
            low, mean, high = (axis.x(end) for end in _interval(strip.figure))
            parts.append(
                f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" '
                f'y2="{middle}"/><line class="mean" x1="{mean:.1f}" x2="{mean:.1f}" '
                f'y1="{middle - 8}" y2="{middle + 8}"/>'
            )
        places = [axis.x(value) for value in strip.values]
        parts += [
            f'<circle cx="{x:.1f}" cy="{middle + rise}" r="3.5"><title>{value:.1f}</title></circle>'
            for x, rise, value in zip(places, _apart(places), strip.values, strict=True)
        ]
    said = "; ".join(
        f"{strip.name}: {', '.join(f'{value:.1f}' for value in strip.values)}" for strip in shown
    )
    return _svg(height, f"Run by run, {said}", parts)


def _apart(places: Sequence[float]) -> list[int]:
    """Return how far each point is moved down or up, so that alike ones do not hide one another."""
    rises: list[int] = []
    for number, x in enumerate(places):
        near = [rise for at, rise in zip(places[:number], rises, strict=True) if abs(at - x) < _DOT]
        free = [rise for rise in (0, -_DOT, _DOT, -2 * _DOT, 2 * _DOT) if rise not in near]
        rises.append(free[0] if free else 0)
    return rises


def _interval(figure: Figure | None) -> tuple[float, ...]:
    """Return the ends of an interval and the figure between them, in per cent."""
    if figure is None:
        return ()
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return 100 * low, 100 * figure.value, 100 * high


def distances_svg(distance: Distance) -> str:
    """Draw the histogram of a distance, the bars within the budget apart from those beyond."""
    shown, budget = distance.histogram(), distance.budget
    edges = [max(float(edge), 0.0) for edge in shown.edges]  # no distance is below 0
    within = [budget is None or edge <= budget * (1 + _ROUNDING) for edge in edges[1:]]
    counts = [*map(int, shown.counts)]
    counts[-1] += shown.above  # a last bar for all that is further, named so
    if len(counts) == 1:  # all alike: a bar needs a width
        edges = [edges[0] * 0.95, max(edges[1] * 1.05, edges[0] + 1e-9)]
    near = budget is not None and budget <= 2 * edges[-1]
    axis = _Axis.around(edges[0], max(edges[-1], budget if budget is not None and near else 0.0))
    bottom, highest = _BARS + 12, max(counts)
    parts = [axis.drawn(12, bottom)]
    for number, count in enumerate(counts):
        low, high = edges[number : number + 2]
        tall = _BARS * count / highest
        upto = "and more" if shown.above and high == edges[-1] else f"to {high:.3g}"
        parts.append(
            f'<rect class="{"within" if within[number] else "beyond"}" x="{axis.x(low):.1f}" '
            f'y="{bottom - tall:.1f}" width="{max(axis.x(high) - axis.x(low) - 1, 1):.1f}" '
            f'height="{tall:.1f}"><title>{low:.3g} {upto}: {count}</title></rect>'
        )
    if budget is not None:
        parts.append(_budget(budget, axis, bottom, drawn=near))
    quantiles = zip(QUANTILES, distance.quantiles, strict=True)
    said = ", ".join(f"{100 * at:g} % below {value:.3g}" for at, value in quantiles)
    return _svg(bottom + _AXIS, f"Histogram of {words(distance.name)}: {said}", parts)


def _budget(budget: float, axis: _Axis, bottom: float, *, drawn: bool) -> str:
    """Return a line at the budget and its number; where it is far beyond, its number alone."""
    at = axis.x(budget) if drawn else float(_WIDTH)
    left = at > _WIDTH / 2
    label = (
        f'<text x="{at + (-5 if left else 5):.1f}" y="10" '
        f'text-anchor="{"end" if left else "start"}">budget {budget:g}</text>'
    )
    line = f'<line class="budget" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{bottom}"/>'
    return (line if drawn else "") + label


def words(name: str) -> str:
    """Return ``flow loss`` for ``flow_loss``."""
    return name.replace("_", " ")


@dataclass(frozen=True)
class _Axis:
    """A horizontal axis with round numbers at its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, low: float, high: float) -> _Axis:
        """Return one from the round number below to the one above."""
        spread = high - low or abs(high) or 1.0
        power = 10.0 ** math.floor(math.log10(spread / 4))
        step = next(k * power for k in (1, 2, 2.5, 5, 10) if spread / (k * power) <= 5)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        last = max(last, first + 1)
        return cls(first * step, last * step, tuple(k * step for k in range(first, last + 1)))

    def x(self, value: float) -> float:
        """Return where a value is."""
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * (value - self.low) / (self.high - self.low)

    def drawn(self, top: float, bottom: float) -> str:
        """Return a line at each tick, and its number below."""
        return "".join(
            f'<line class="grid" x1="{self.x(tick):.1f}" x2="{self.x(tick):.1f}" y1="{top}" '
            f'y2="{bottom}"/><text x="{self.x(tick):.1f}" y="{bottom + 15}" '
            f'text-anchor="middle">{round(tick, 10):g}</text>'
            for tick in self.ticks
        )


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
