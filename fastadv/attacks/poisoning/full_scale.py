"""Poisoning of a training set that is too large to differentiate training as a whole.

Surrogates say once, whatever the seed, what does most harm: some coherent region (see `regions`),
images as a known filter makes them (see `filtered`), or random flips, which are always tried, too.
The points of a region stay where they are unless the attack is told to move them. It does so on
subsets: the images of the two classes concerned, among them the originals of the points, dealt into
parts with their share of the points. The gradient is exact only for the training on a subset, and
what is moved may well do less than what stayed: surrogates say which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastadv import seeds
from fastadv.arrays import Float64
from fastadv.attacks.poisoning import filtered, known, regions, surrogates
from fastadv.attacks.poisoning.ascent import Ascent
from fastadv.attacks.poisoning.feasible import Feasible
from fastadv.attacks.poisoning.flips import random_flips
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.attacks.poisoning.surrogates import Points
from fastadv.protocols import RobustTraining
from fastadv.threads import map_chunks

STEPS, STEP_SIZE = 2, 0.15  # on each subset, unless given
FLIPS = {"kept": "random flips"}


def plan(problem: Problem, label: int | None, tried: int) -> dict[str, Any]:
    """Return which points do most harm to surrogates, and that harm (see `Goal.harm`).

    Candidates are the ``tried`` likeliest regions, or filtered images where the victim is known to
    filter. Random flips are another, unless one class is to be taken for another, or a sanitizer
    drops what lies outside its region. Of a victim that is known to train in its own way only the
    likeliest region is tried: such trainings may take long. Without a ``label`` each candidate has
    its own.
    """
    if known.filters(problem.defense):
        plans = filtered.plans(problem, label)
    else:
        n = 1 if isinstance(problem.defense, RobustTraining) else tried
        ranked = regions.ranked(problem, label)[:n]
        plans = {region.described(problem.task): region.plan(problem.task) for region in ranked}
    apart = problem.goal.source is not None or problem.region is not None
    control = {} if apart else {"random flips": FLIPS}
    return most_harmful(problem, control | plans)


def most_harmful(problem: Problem, plans: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the plan whose points do most harm; of equals, the first."""
    made = {name: craft(problem, each) for name, each in plans.items()}
    points = {name: Points(crafted.points, crafted.labels) for name, crafted in made.items()}
    name, harm = surrogates.most_harmful(problem, points)
    return {**plans[name], "harm": harm}


def craft(problem: Problem, plan: dict[str, Any]) -> Crafted:
    """Return the points of a plan; random flips are the draw that the attack is compared with."""
    if "side" in plan:
        region = regions.planned(problem, plan)
        feasible = problem.feasible(region.rows, region.labels)
        points = feasible(feasible.start).astype(np.float32)
        crafted = Crafted(points, region.labels, region.rows)
    elif "target" in plan:
        crafted = filtered.craft(problem, plan)
    else:
        rows, labels = random_flips(problem, problem.seed)
        crafted = Crafted(problem.X[rows], labels, rows)
    details: dict[str, Any] = {
        name: plan[name] for name in ("region", "kept", "harm") if name in plan
    }
    return replace(crafted, details=details)


def moved(problem: Problem, ascent: Ascent, plan: dict[str, Any], subset_size: int) -> Crafted:
    """Return the points of a planned region, moved on subsets if that does more harm."""
    region = regions.planned(problem, plan)
    feasible = problem.feasible(region.rows, region.labels)
    start = feasible(feasible.start)
    points, history = _move_on_subsets(problem, ascent, region, feasible, start, subset_size)
    ways = {"start": start.astype(np.float32), "moved": points.astype(np.float32)}
    candidates = {way: Points(X, region.labels) for way, X in ways.items()}
    way, harm = surrogates.most_harmful(problem, candidates)
    details = {"region": plan["region"], "kept": way, "harm": harm}
    return Crafted(ways[way], region.labels, region.rows, history, details)


def _move_on_subsets(
    problem: Problem,
    ascent: Ascent,
    region: regions.Region,
    feasible: Feasible,
    start: Float64,
    subset_size: int,
) -> tuple[Float64, Float64]:
    """Move each part of the points on its own subset; return them all and the mean history."""
    y, y_val, goal = problem.y, problem.y_val, problem.goal
    concerned = [region.source, region.target, *([] if goal.target is None else [goal.target])]
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
