"""Accuracy over the budget of one attack, and its drawing as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from fastadv.grid.several import Intervals, accuracy
from fastadv.grid.trust import attack_and_budget

if TYPE_CHECKING:
    from fastadv.grid.several import Mean
    from fastadv.grid.store import Row

Scale = Callable[[float], float]

COLOURS = 8  # that the page's style has; further lines are dashed

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 34  # margins of the plot, in pixels


@dataclass(frozen=True)
class Curve:
    """One defense: its budgets, rising, and the accuracies with their intervals.

    Attributes
    ----------
    number : int
        Of its colour, the same in all plots.
    """

    number: int
    defense: str
    budgets: tuple[float, ...]
    accuracies: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plot:
    """One attack at several budgets, a curve for each defense."""

    title: str
    unit: str
    curves: tuple[Curve, ...]


def plots(rows: Sequence[Row], means: Sequence[Mean] = ()) -> list[Plot]:
    """Return a plot for each attack of which there is a curve: two budgets or more.

    An attack is the same where all its parameters but the budget are. Over several seeds a point is
    the mean, and its interval that of ``means``.
    """
    intervals = Intervals(means)
    cells: dict[tuple[str, str], dict[str, dict[float, list[Row]]]] = {}  # by defense, by budget
    for row in rows:
        found = attack_and_budget(row)
        if row.status == "ok" and row.attacked_accuracy is not None and found is not None:
            attack, budget = found
            threat = (row.threat or "").partition("(")[0]
            by_budget = cells.setdefault((attack, threat), {}).setdefault(row.defense, {})
            by_budget.setdefault(budget, []).append(row)
    out = []
    defenses = list(dict.fromkeys(row.defense for row in rows))
    for (attack, threat), by_defense in cells.items():
        curves = [
            _curve(defenses.index(d), d, cell, intervals)
            for d, cell in by_defense.items()
            if len(cell) > 1
        ]
        if curves:
            out.append(Plot(attack.partition(" ")[0], threat, tuple(curves)))
    return out


def _curve(
    number: int, defense: str, by_budget: dict[float, list[Row]], intervals: Intervals
) -> Curve:
    budgets = sorted(by_budget)
    accuracies = [fmean(map(accuracy, by_budget[budget])) for budget in budgets]
    limits = [intervals.cell(by_budget[budget]) for budget in budgets]
    return Curve(number, defense, tuple(budgets), tuple(accuracies), tuple(limits))


def svg(plot: Plot) -> str:
    """Draw a plot; its colours are the classes ``s0`` ... of the page."""
    budgets = [budget for curve in plot.curves for budget in curve.budgets]
    low, high = min(budgets), max(budgets)

    def x(budget: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (budget - low) / (high - low)

    def y(accuracy: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - accuracy)

    title = html.escape(f"{plot.title}: accuracy over the budget")
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">']
    for percent in (0, 25, 50, 75, 100):
        height = y(percent / 100)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" '
            f'y2="{height:.1f}"/><text x="{_LEFT - 8}" y="{height + 4:.1f}" '
            f'text-anchor="end">{percent}</text>'
        )
    for budget in _ticks(sorted(set(budgets)), x):
        parts.append(
            f'<text x="{x(budget):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
            f'text-anchor="middle">{budget:g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    unit = html.escape(f"budget, {plot.unit}")
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{unit}</text>')
    for curve in plot.curves:
        parts.append(_line(curve, x, y))
    return "".join(parts) + "</svg>"


def _ticks(budgets: Sequence[float], x: Scale) -> list[float]:
    """Return the budgets whose labels do not run into one another."""
    kept = [budgets[0]]
    for budget in budgets[1:]:
        if x(budget) - x(kept[-1]) >= 36:
            kept.append(budget)
    return kept


def _line(curve: Curve, x: Scale, y: Scale) -> str:
    """Draw one curve: its band, its line, and points that say their figures when pointed at."""
    xs = [x(budget) for budget in curve.budgets]
    along = zip(xs, curve.intervals, strict=True)
    lower, upper = zip(*(((at, y(a)), (at, y(b))) for at, (a, b) in along), strict=True)
    line = list(zip(xs, (y(a) for a in curve.accuracies), strict=True))
    points = []
    figures = zip(line, curve.budgets, curve.accuracies, curve.intervals, strict=True)
    for (at, height), budget, share, (a, b) in figures:
        text = f"{curve.defense} at {budget:g}: {100 * share:.1f} ({100 * a:.1f}-{100 * b:.1f})"
        points.append(
            f'<circle cx="{at:.1f}" cy="{height:.1f}" r="3.5"><title>{html.escape(text)}</title>'
            "</circle>"
        )
    return (
        f'<g class="{series_class(curve)}"><polygon points="{_points([*upper, *lower[::-1]])}"/>'
        f'<polyline points="{_points(line)}"/>{"".join(points)}</g>'
    )


def series_class(curve: Curve) -> str:
    """Return the CSS classes of a curve."""
    return f"s{curve.number % COLOURS}" + (" dashed" if curve.number >= COLOURS else "")


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points if math.isfinite(a + b))
