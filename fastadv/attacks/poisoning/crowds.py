"""Crowds: copies of one image that outvote the neighbours of every image around it.

A sanitizer that relabels an image by the vote of its nearest neighbours (Paudice et al. 2018,
arXiv 1803.00992) takes single wrong labels back. Of ``m`` copies at one place, ``m`` a majority of
the neighbours, each vouches for the others, and they outvote the rest for every image that has the
place among its nearest few: the sanitizer itself then spreads the wrong label. The mean of close
images is nearer to each of them than they are to one another, and so a neighbour of many (a hub:
Radovanovic et al., JMLR 2010). Koh, Steinhardt and Liang (2022, arXiv 1811.00741) concentrate their
attacks on sanitizers in a few places with many copies for the same reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from fastadv.arrays import Float32, Floats
from fastadv.attacks.poisoning import regions
from fastadv.attacks.poisoning.problem import Crafted, Index, Problem
from fastadv.neighbors import nearest_others
from fastadv.protocols import NeighborSanitizer
from fastadv.threads import map_chunks, one_blas_thread

_CROWD = 40  # images whose mean is a place
_CHUNK = 1024  # images that a thread looks for the neighbours of at once
_INSIDE = np.float32(0.99)  # of a distance: the victim's components are not quite the attacker's


@dataclass(frozen=True)
class _Places:
    """The places of one class in the order in which they capture most images that are left.

    ``members`` (n, m): the rows whose mean each place is; ``rows`` (n,): the one it lies around.
    """

    members: Index
    rows: Index
    captured: npt.NDArray[np.intp]  # by so many places, less one
    size: int  # of the class


def size_of(defense: NeighborSanitizer) -> int:
    """Return how many copies are a majority that the sanitizer goes by."""
    return max(math.ceil(defense.eta * defense.neighbors), defense.neighbors // 2 + 1)


def plan(problem: Problem, *, means: bool, label: int | None = None) -> dict[str, Any] | None:
    """Return crowds that the vote of the known sanitizer does not take back, whatever the seed.

    The budget goes to as many classes as can each have over half of their images captured, at least
    one; each gets the wrong label that it is most like, or ``label``. ``means``: a place is the
    mean of close images, otherwise an image. None if there are too few points for a crowd.
    """
    defense, goal, y = problem.defense, problem.goal, problem.y
    size = size_of(defense)
    budget = problem.n_points // size
    if budget < 1:
        return None
    target = goal.target if label is None else label
    classes = [c for c in range(len(problem.classes)) if c != target and goal.source in (None, c)]
    points = _coordinates(problem.X, defense.components)
    found = {
        c: _places(points, np.flatnonzero(y == c), defense.neighbors, size, budget, means)
        for c in classes
        if np.count_nonzero(y == c) > defense.neighbors
    }
    if not found:
        return None
    shares = sorted(found, key=lambda c: -_share(found[c], budget))
    n_classes = 1
    for n in range(2, len(shares) + 1):
        if min(_share(found[c], budget // n) for c in shares[:n]) > 0.5:
            n_classes = n
    likeness = regions.class_likeness(problem) if target is None else None
    return _together(problem, found, shares[:n_classes], size, target, likeness)


def _share(places: _Places, budget: int) -> float:
    """Return the share of a class that its first places capture."""
    n = min(budget, len(places.captured))
    return float(places.captured[n - 1]) / places.size if n else 0.0


def _together(
    problem: Problem,
    found: dict[int, _Places],
    classes: list[int],
    size: int,
    target: int | None,
    likeness: npt.NDArray[np.float64] | None,
) -> dict[str, Any]:
    """Return the first places of each class, their labels, and how many images they capture."""
    each = problem.n_points // size // len(classes)
    members, rows, labels, captured = [], [], [], 0
    for c in classes:
        places = found[c]
        n = min(each, len(places.rows))
        wrong = int(likeness[c].argmax()) if likeness is not None else target
        members += places.members[:n].tolist()
        rows += places.rows[:n].tolist()
        labels += [wrong] * n
        captured += int(places.captured[n - 1]) if n else 0
    return {
        "crowds": members, "rows": rows, "labels": labels, "copies": size, "captured": captured
    }  # fmt: skip


def craft(problem: Problem, plan: dict[str, Any]) -> Crafted:
    """Return ``copies`` points at each planned place; what is left over goes round again."""
    again = np.resize(np.repeat(np.arange(len(plan["rows"])), plan["copies"]), problem.n_points)
    places = np.stack([problem.X[members].mean(axis=0) for members in plan["crowds"]])
    rows, labels = (np.array(plan[name], dtype=np.int64)[again] for name in ("rows", "labels"))
    inside = problem.feasible(rows, labels)(places[again].astype(np.float64))
    details = {"kept": "crowds", "captured": plan["captured"]}
    return Crafted(inside.astype(np.float32), labels, rows, details=details)


def _coordinates(X: Floats, components: int | None) -> Float32:
    """Return the points among which the sanitizer looks for neighbours, of the clean images."""
    points = np.asarray(X, dtype=np.float32)
    if components is None or components >= min(X.shape):
        return points
    with one_blas_thread():
        reduced = PCA(components, svd_solver="covariance_eigh").fit_transform(points)
    return np.asarray(reduced, dtype=np.float32)


def _places(points: Float32, rows: Index, k: int, size: int, budget: int, means: bool) -> _Places:
    """Return the places of the class of these rows, chosen greedily.

    A crowd captures an image if it is nearer than the image's neighbour of number k - size + 1.
    """
    own = points[rows]
    count = min(max(_CROWD, k), len(rows) - 1)
    nearest = nearest_others(own, count)
    reach = _INSIDE * nearest.distances(own)[:, min(k - size, count - 1)]
    centres = own[nearest.index].mean(axis=1) if means else own
    reached = np.empty((len(own), len(own)), dtype=bool)  # image by place
    squares = (centres * centres).sum(axis=1)

    def fill(start: int, stop: int) -> None:
        part = own[start:stop]
        gaps = (part * part).sum(axis=1)[:, None] + squares - 2 * part @ centres.T
        reached[start:stop] = gaps < reach[start:stop, None] ** 2

    with one_blas_thread():
        map_chunks(fill, len(own), _CHUNK)
    if not means:
        np.fill_diagonal(reached, True)
    chosen, captured = _greedy(reached, budget)
    members = rows[nearest.index[chosen]] if means else rows[chosen][:, None]
    return _Places(members, rows[chosen], captured, len(rows))


def _greedy(reached: npt.NDArray[np.bool_], budget: int) -> tuple[Index, npt.NDArray[np.intp]]:
    """Return the columns, each the one that reaches most rows not yet reached, and the totals."""
    left = np.ones(len(reached), dtype=bool)
    gain = reached.sum(axis=0, dtype=np.int64)
    chosen: list[int] = []
    total: list[int] = []
    while len(chosen) < budget and gain.max() > 0:
        best = int(gain.argmax())
        new = reached[:, best] & left
        left &= ~new
        gain -= reached[new].sum(axis=0, dtype=np.int64)
        chosen.append(best)
        total.append(int(np.count_nonzero(~left)))
    return np.array(chosen, dtype=np.intp), np.array(total, dtype=np.intp)
