"""Gradient poisoning of a training set that is too large to differentiate as a whole.

The points start as a coherent region (see `regions`) and are moved on subsets: the images of the
two classes concerned, among them the originals of the points, dealt into parts with their share of
the points. Then the moved set meets the set that it started from on the whole training set, and
what does more harm on the attacker's validation images is added. A gradient through training is
exact for the run that it follows, other batches and other first weights move it, and points that
move together become something that a network can tell apart from clean images: so the start can
win, and the result says which did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import seeds
from fastadv.arrays import Float64, Floats, Labels
from fastadv.attacks.poisoning import regions
from fastadv.attacks.poisoning.base import Problem
from fastadv.attacks.poisoning.feasible import Feasible
from fastadv.attacks.poisoning.goal import Goal
from fastadv.threads import map_chunks

STEPS, STEP_SIZE = 2, 0.15  # on each subset, unless told

# (model, X, y, X_val, y_val, goal, points, where they may go, steps, length) -> points, history
Move = Callable[
    [Any, Floats, Labels, Floats, Labels, Goal, Float64, Feasible, int, float],
    tuple[Float64, Float64],
]


def craft(
    move: Move,
    model: Any,
    problem: Problem,
    n_points: int,
    goal: Goal,
    label: int | None,
    room: Callable[[Float64, Labels], Feasible],
    *,
    subset_size: int,
    steps: int,
    step_size: float,
    tried: int,
    restarts: int,
    seed: int,
) -> tuple[Float64, Labels, Float64, dict[str, Any], npt.NDArray[np.intp]]:
    """Return the points, their labels, the mean history over the subsets, details and origins.

    The details name the region and say what harm the points did to a surrogate trained on the whole
    set where they started and where they were moved to (see `Goal.harm`), and which were kept. Of
    several restarts each moves a region of its own, the most harmful ones, and the best is kept.
    """
    trial = regions.Trial(model, problem.X, problem.y, problem.X_val, problem.y_val, goal, seed)
    best: tuple[float, regions.Region, Float64, Float64, dict[str, Any]] | None = None
    for region, start_harm in trial.choose(n_points, max(tried, restarts), label)[:restarts]:
        feasible = room(
            problem.X[region.rows].astype(np.float64), np.full(n_points, region.target)
        )  # fmt: skip
        start = feasible(feasible.start)
        if not np.array_equal(start, feasible.start):  # what was tried is not inside
            start_harm = trial.harm(start.astype(np.float32), region.target)
        moved, history = _on_subsets(
            move, trial, start, feasible, region, subset_size, steps, step_size
        )
        harm = trial.harm(moved.astype(np.float32), region.target)
        details = {
            "region": region.described(problem.task), "harm_start": start_harm, "harm_moved": harm,
            "kept": "moved" if harm > start_harm else "start",
        }  # fmt: skip
        points, done = (moved, harm) if harm > start_harm else (start, start_harm)
        if best is None or done > best[0]:
            best = done, region, points, history, details
    assert best is not None  # there are two regions a class
    _, region, points, history, details = best
    return points, np.full(n_points, region.target), history, details, region.rows


def _on_subsets(
    move: Move,
    trial: regions.Trial,
    start: Float64,
    feasible: Feasible,
    region: regions.Region,
    subset_size: int,
    steps: int,
    step_size: float,
) -> tuple[Float64, Float64]:
    """Move each part of the points on its own subset; return them all and the mean history."""
    X, y, X_val, y_val = trial.X, trial.y, trial.X_val, trial.y_val
    rng = seeds.generator(trial.seed, "subsets")
    local = np.flatnonzero((y == region.source) | (y == region.target))
    others = rng.permutation(np.setdiff1d(local, region.rows))
    n_parts = -(-len(local) // subset_size)
    parts = np.array_split(rng.permutation(len(start)), n_parts)
    judged = np.flatnonzero((y_val == region.source) | (y_val == region.target))

    def craft(k: int, _: int) -> tuple[Float64, Float64]:
        part = parts[k]
        rows = np.concatenate([np.unique(region.rows[part]), others[k::n_parts]])
        return move(
            regions.surrogate_of(trial.model, seeds.derive(trial.seed, "subset", k)),
            X[rows], y[rows], X_val[judged], y_val[judged], trial.goal, start[part],
            feasible.part(part), steps, step_size,
        )  # fmt: skip

    moved = start.copy()
    results = map_chunks(craft, n_parts, 1)
    for part, (points, _) in zip(parts, results, strict=True):
        moved[part] = points
    histories = [history for _, history in results]
    longest = max(map(len, histories))  # with passes they are as long as their part has points
    return moved, np.mean([np.pad(h, (0, longest - len(h)), "edge") for h in histories], axis=0)
