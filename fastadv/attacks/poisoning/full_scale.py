"""Gradient poisoning of a training set that is too large to differentiate as a whole.

The points start as a coherent region (see `regions`) and are moved on subsets: the images of the
two classes concerned, among them the originals of the points, dealt into parts with their share of
the points. A surrogate is then trained on the whole set with the moved points, and one with the
points at their start; what does more harm on the attacker's validation images is added. The
gradient is exact only for the training on a subset, so the start may well win.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastadv import seeds
from fastadv.arrays import Float64
from fastadv.attacks.poisoning import regions, surrogates
from fastadv.attacks.poisoning.ascent import Ascent
from fastadv.attacks.poisoning.feasible import Feasible
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.threads import map_chunks

STEPS, STEP_SIZE = 2, 0.15  # on each subset, unless given


def craft(
    problem: Problem,
    ascent: Ascent,
    label: int | None,
    *,
    subset_size: int,
    tried: int,
    restarts: int,
) -> Crafted:
    """Return the points, with the mean history over the subsets.

    The details name the region and give the harm that the points did to a surrogate where they
    started and where they were moved to (see `Goal.harm`), and which were kept. Of several restarts
    each moves a region of its own, the most harmful of the ``tried`` ones, and the best is kept.
    Without a ``label`` the region has its own.
    """

    def from_region(region: regions.Region, start_harm: float) -> Crafted:
        labels = region.labels
        feasible = problem.feasible(region.rows, labels)
        start = feasible(feasible.start)
        if not np.array_equal(start, feasible.start):  # what was tried is not inside
            start_harm = surrogates.harm(problem, start.astype(np.float32), labels)
        points, history = _move_on_subsets(problem, ascent, region, feasible, start, subset_size)
        harm = surrogates.harm(problem, points.astype(np.float32), labels)
        better = harm > start_harm
        details = {
            "region": region.described(problem.task), "harm_start": start_harm, "harm_moved": harm,
            "kept": "moved" if better else "start",
        }  # fmt: skip
        return Crafted(points if better else start, labels, region.rows, history, details)

    chosen = regions.choose(problem, max(tried, restarts), label)[:restarts]
    return max(
        (from_region(*pair) for pair in chosen),
        key=lambda crafted: max(crafted.details["harm_start"], crafted.details["harm_moved"]),
    )


def _move_on_subsets(
    problem: Problem,
    ascent: Ascent,
    region: regions.Region,
    feasible: Feasible,
    start: Float64,
    subset_size: int,
) -> tuple[Float64, Float64]:
    """Move each part of the points on its own subset; return them all and the mean history."""
    y, y_val, concerned = problem.y, problem.y_val, (region.source, region.target)
    rng = seeds.generator(problem.seed, "subsets")
    local = np.flatnonzero(np.isin(y, concerned))
    others = rng.permutation(np.setdiff1d(local, region.rows))
    n_parts = -(-len(local) // subset_size)
    parts = np.array_split(rng.permutation(len(start)), n_parts)
    judged = np.flatnonzero(np.isin(y_val, concerned))

    def move(k: int, _: int) -> tuple[Float64, Float64]:
        part = parts[k]
        rows = np.concatenate([np.unique(region.rows[part]), others[k::n_parts]])
        subset = replace(
            problem, X=problem.X[rows], y=y[rows], X_val=problem.X_val[judged],
            y_val=y_val[judged], n_points=len(part),
            model=surrogates.untrained(problem.model, seeds.derive(problem.seed, "subset", k)),
        )  # fmt: skip
        return ascent.move(subset, start[part], feasible.part(part))

    points = start.copy()
    results = map_chunks(move, n_parts, 1)
    for part, (moved, _) in zip(parts, results, strict=True):
        points[part] = moved
    histories = [history for _, history in results]
    longest = max(map(len, histories))  # with passes they are as long as their part has points
    return points, np.mean([np.pad(h, (0, longest - len(h)), "edge") for h in histories], axis=0)
