"""Poison that looks as the victim's filtered test images do.

A defense that stands before a trained model, a filter or fewer grey levels, shows it images that it
was not trained on. An attacker who knows the filter adds filtered images under wrong labels: no
clean image stands where they do, so that few of them decide there. The filter is a trigger that the
victim puts on every test image (BadNets, Gu et al. 2017, with the defense for the patch).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastadv import seeds
from fastadv.attacks.poisoning import known, regions, surrogates
from fastadv.attacks.poisoning.flips import Flips
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.task import Task


def plans(problem: Problem, label: int | None = None) -> dict[str, dict[str, Any]]:
    """Return what to show: images of all classes as one, and those of one class as another.

    The one that all are to be taken for is the rarest class, or ``label``. The one class is that of
    which a surrogate, trained on filtered images of every class at once, gives most validation
    images the wrong label; the other is what it is most like. A specific goal has its own two.
    """
    goal = problem.goal
    if goal.source is not None and goal.target is not None:
        target = goal.target if label is None else label
        return {"one class": _plan(problem.task, goal.source, target)}
    sizes = np.bincount(problem.y)
    target = int(sizes.argmin()) if label is None else label
    everything = _plan(problem.task, None, target)
    source, target = _easiest(problem, label)
    return {"all classes": everything, "one class": _plan(problem.task, source, target)}


def _plan(task: Task, source: int | None, target: int) -> dict[str, Any]:
    shown = "images" if source is None else f"images of {task.name_of(source)}"
    kept = f"filtered {shown} as {task.name_of(target)}"
    return {"kept": kept, "source": source, "target": target}


def _easiest(problem: Problem, label: int | None) -> tuple[int, int]:
    """Return the class that is most easily taken for another by its filtered images, and which."""
    likeness = regions.class_likeness(problem)
    n_classes = len(likeness)
    wrong = likeness.argmax(axis=1) if label is None else np.full(n_classes, label)
    each = {c: _draw(problem, c, int(wrong[c])) for c in range(n_classes) if c != label}
    together = Flips(*(np.concatenate(parts) for parts in zip(*each.values(), strict=True)))
    X = known.shown(problem.defense, problem.task, problem.X[together.rows])
    predicted = surrogates.trained(problem, X, together.labels, seed=0).predict(problem.X_met)
    changed = {
        c: np.count_nonzero(predicted[problem.y_val == c] == wrong[c]) for c in each
    }  # fmt: skip
    source = max(changed, key=lambda c: changed[c])
    return source, int(wrong[source])


def craft(problem: Problem, plan: dict[str, Any]) -> Crafted:
    """Return training images as the victim's model would be shown them, under the wrong label."""
    rows, labels = _draw(problem, plan["source"], plan["target"])
    X = known.shown(problem.defense, problem.task, problem.X[rows])
    inside = problem.feasible(rows, labels)(X.astype(np.float64))
    return Crafted(inside.astype(np.float32), labels, rows, details={"kept": plan["kept"]})


def _draw(problem: Problem, source: int | None, target: int) -> Flips:
    """Draw images of the source class, or of all but the target."""
    y, n = problem.y, problem.n_points
    rows = np.flatnonzero(y != target if source is None else y == source)
    chosen = np.resize(seeds.generator(problem.seed, "filtered").permutation(rows), n)
    return Flips(chosen, np.full(n, target, dtype=np.int64))
