"""Accuracy over the budget of one attack, and its drawing as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastadv.grid.trust.rows import attack_and_budget

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Figure

Scale = Callable[[float], float]

COLOURS = 8  # that the page's style has; further lines are dashed
_BANDS = 6  # curves in a plot, of which the bands can still be told from one another

_WIDTH, _HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 34  # margins of the plot, in pixels


@dataclass(frozen=True)
class Curve:
    """One defense: its budgets, rising, and the accuracies there.

    Attributes
    ----------
    number : int
        Of its colour, the same in all plots.
    """

    number: int
    defense: str
    budgets: tuple[float, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Plot:
    """One attack at several budgets, a curve for each defense."""

    title: str
    unit: str
    curves: tuple[Curve, ...]


def plots(result: GridResult) -> list[Plot]:
    """Return a plot for each attack of which there is a curve: two budgets or more.

    An attack is the same where all its parameters but the budget are; of a budget with several
    limits all but one have to be alike.
    """
    cells: dict[tuple[str, str], dict[str, dict[tuple[float, ...], Figure]]] = {}
    for row in result.rows:  # by attack and defense, then by budget
        found = attack_and_budget(row)
        if row.threat is not None and row.attacked_accuracy is not None and found is not None:
            attack, limits = found
            kind = f"{row.threat.kind} {row.threat.unit}".strip()
            by_budget = cells.setdefault((attack, kind), {}).setdefault(row.defense, {})
            by_budget[limits] = row.attacked_accuracy
    out = []
    defenses = list(dict.fromkeys(row.defense for row in result.rows))
    for (attack, kind), by_defense in cells.items():
        budgets = {limits for cell in by_defense.values() for limits in cell}
        varied = _varied(budgets)
        curves = [
            _curve(defenses.index(d), d, {limits[varied]: f for limits, f in cell.items()})
            for d, cell in by_defense.items()
            if varied is not None and len(cell) > 1
        ]
        if curves:
            unit = _unit(kind, next(iter(budgets)), varied)
            out.append(Plot(attack.partition(" ")[0], unit, tuple(curves)))
    return out


def _varied(budgets: Collection[tuple[float, ...]]) -> int | None:
    """Return which of the limits is the only one that is not the same in all budgets."""
    varied = [k for k, values in enumerate(zip(*budgets, strict=True)) if len(set(values)) > 1]
    return varied[0] if len(varied) == 1 else None


def _unit(kind: str, limits: tuple[float, ...], varied: int | None) -> str:
    """Return the kind of a threat; of several limits with the fixed ones, and x for the other."""
    if len(limits) == 1:
        return kind
    shown = ("x" if k == varied else f"{limit:g}" for k, limit in enumerate(limits))
    return f"{kind}({','.join(shown)})"


def _curve(number: int, defense: str, by_budget: dict[float, Figure]) -> Curve:
    budgets = sorted(by_budget)
    return Curve(number, defense, tuple(budgets), tuple(by_budget[budget] for budget in budgets))


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
        parts.append(_line(curve, x, y, band=len(plot.curves) <= _BANDS))
    return "".join(parts) + "</svg>"


def _ticks(budgets: Sequence[float], x: Scale) -> list[float]:
    """Return the budgets whose labels do not run into one another."""
    kept = [budgets[0]]
    for budget in budgets[1:]:
        if x(budget) - x(kept[-1]) >= 36:
            kept.append(budget)
    return kept


def _line(curve: Curve, x: Scale, y: Scale, *, band: bool) -> str:
    """Draw one curve: its band, its line, and points that say their figures when pointed at."""
    xs = [x(budget) for budget in curve.budgets]
    shares = [
        (f.value, f.value, f.value) if f.low is None or f.high is None else (f.low, f.value, f.high)
        for f in curve.figures
    ]
    lower, line, upper = (
        [(at, y(share[k])) for at, share in zip(xs, shares, strict=True)] for k in range(3)
    )
    points = []
    for (at, height), budget, (low, share, high) in zip(line, curve.budgets, shares, strict=True):
        text = (
            f"{curve.defense} at {budget:g}: {100 * share:.1f} ({100 * low:.1f}-{100 * high:.1f})"
        )
        points.append(
            f'<circle cx="{at:.1f}" cy="{height:.1f}" r="3.5"><title>{html.escape(text)}</title>'
            "</circle>"
        )
    area = f'<polygon points="{_points([*upper, *lower[::-1]])}"/>' if band else ""
    return (
        f'<g class="{series_class(curve)}">{area}'
        f'<polyline points="{_points(line)}"/>{"".join(points)}</g>'
    )


def series_class(curve: Curve) -> str:
    """Return the CSS classes of a curve."""
    return f"s{curve.number % COLOURS}" + (" dashed" if curve.number >= COLOURS else "")


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points if math.isfinite(a + b))
