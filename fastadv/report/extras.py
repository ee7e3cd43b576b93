"""The figures beneath the accuracy of a cell, each with its place in the caption."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastadv.grid.row import Figure, Row


@dataclass(frozen=True)
class Extra:
    """A figure beneath the accuracy: its label, its value, and what the caption says of it.

    ``beside`` is a second figure behind a slash, where a row has it.
    """

    label: str
    value: Callable[[Row], float | None]
    legend: str
    beside: Callable[[Row], float | None] = lambda _: None

    def text(self, row: Row) -> str:
        """Return the line of a cell; empty if it has no finite figure."""
        figures = [self.value(row), self.beside(row)]
        known = [
            f"{f:.1f}".replace("-0.0", "0.0") for f in figures if f is not None and math.isfinite(f)
        ]
        return f"{self.label} {' / '.join(known)}" if known else ""


def _percent(share: Figure | float | None) -> float | None:
    return None if share is None else 100 * float(share)


def _of_flow(distance: str) -> Callable[[Row], float | None]:
    # The attacks of this threat look for the smallest change, whatever the budget.
    def value(row: Row) -> float | None:
        of_flow = row.threat is not None and row.threat.kind == "flow"
        return row.distances.get(distance) if of_flow else None

    return value


# Stands beside the accuracy, not beneath it: without it a backdoor's cell would be misread.
OBEY = Extra(
    "obey",
    lambda row: _percent(row.success_rate) if row.kind == "poisoning" else None,
    "obey: share of triggered images of other classes that get the target label; they do not count "
    "as right",
)

EXTRAS = (
    Extra(
        "points",
        lambda row: _percent(row.accuracy_lost),
        "points: of clean accuracy lost to the poison",
    ),
    Extra(
        "needs",
        _of_flow("flow_loss"),
        "needs: median flow loss of the attack's successes, at any budget",
    ),
    Extra(
        "moves",
        _of_flow("translation"),
        "moves: their median translation in pixels, of which the flow loss sees nothing",
    ),
    Extra(
        "oblivious",
        lambda row: _percent(row.oblivious_accuracy),
        "oblivious: accuracy under an attack that does not know the defense",
    ),
    Extra(
        "flips",
        lambda row: _percent(row.baseline_accuracy),
        "flips: accuracy with as many random label flips in place of the poison",
    ),
    Extra(
        "benign",
        lambda row: _percent(row.benign_accuracy),
        "benign: accuracy of the poisoned model on images without the trigger",
    ),
    Extra(
        "caught",
        lambda row: _percent((row.sanitized or {}).get("caught")),
        "caught: share of the poison that was dropped or got its true label back (behind a slash, "
        "of the oblivious attack's)",
        lambda row: _percent((row.sanitized or {}).get("caught_oblivious")),
    ),
    Extra(
        "lost",
        lambda row: _percent((row.sanitized or {}).get("lost")),
        "lost: share of the clean training images that were dropped or relabelled",
    ),
    Extra(
        "certified",
        lambda row: _percent(row.certified.accuracy) if row.certified else None,
        "certified: share of the images of evasion rows that are right and that no attack of the "
        "row's budget can change",
    ),
)
