"""Poison for a known defense: which rule it calls for.

what the victim does            what survives it
drops what lies outside         points brought inside (Koh, Steinhardt and Liang 2022)
relabels by neighbours          crowds of copies that outvote them (`crowds`)
filters test images             filtered images under wrong labels (`filtered`)
trains in another way           a region of clearer majority (`regions`)

Surrogates train as the victim does where it trains in another way, and judge what stands before the
model, which costs nothing; what the vote of neighbours does to a training set is counted.
"""

from __future__ import annotations

from typing import Any

from fastadv.attacks.poisoning import crowds, known
from fastadv.attacks.poisoning.problem import Problem
from fastadv.protocols import NeighborSanitizer, RegionSanitizer, RobustTraining


def knows(defense: Any) -> bool:
    """Return whether there is a rule for the defense."""
    by_region = isinstance(defense, RegionSanitizer)
    return by_region or knows_by_labels(defense) or known.filters(defense)


def knows_by_labels(defense: Any) -> bool:
    """Return whether there is a rule for the defense that adds training images as they are."""
    return relabels(defense) or isinstance(defense, RobustTraining)


def relabels(defense: Any) -> bool:
    """Return whether the defense is a sanitizer that relabels by the vote of neighbours."""
    return isinstance(defense, NeighborSanitizer)


def crowds_of(problem: Problem, *, means: bool, label: int | None = None) -> dict[str, Any] | None:
    """Return planned crowds of copies, if the defense is one that they turn around, else None.

    They have to turn more labels than there are points: random flips turn at most as many, and the
    vote takes most of those back.
    """
    if not relabels(problem.defense):
        return None
    plan = crowds.plan(problem, means=means, label=label)
    return plan if plan and plan["captured"] > problem.n_points else None
