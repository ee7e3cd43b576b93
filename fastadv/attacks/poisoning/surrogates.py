"""Surrogates: models of the victim's kind that the attacker trains to measure what points do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from fastadv import seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning.problem import Problem
from fastadv.models.base import cross_entropies
from fastadv.protocols import RobustTraining

_CLEAR = 0.005  # of harm: a lead over the control for which one training is believed
_TRAININGS = 3  # of both, where the lead is less


class Points(NamedTuple):
    """Images (p, d) and their labels (p,)."""

    X: Floats
    labels: Labels


def untrained(model: Any, seed: int) -> Any:
    """Return an untrained copy of ``model`` with a random state, if it has one, of its own."""
    surrogate = clone(model)
    if "random_state" in surrogate.get_params():
        surrogate.set_params(random_state=seeds.derive(seed, "surrogate", 0) % 2**31)
    return surrogate


def trained(problem: Problem, points: Floats, labels: Labels, seed: int | None = None) -> Any:
    """Return a surrogate, trained on the clean set and points (p, d) under labels (p,).

    As the victim trains, where that is known. ``seed`` is the problem's if none is given.
    """
    X, y = np.concatenate([problem.X, points]), np.concatenate([problem.y, labels])
    seed = problem.seed if seed is None else seed
    model = untrained(problem.model, seed)
    if isinstance(problem.defense, RobustTraining):
        return problem.defense.fit(model, X, y, task=problem.task, seed=seed)
    return model.fit(X, y)


def validation_loss(problem: Problem, points: Floats, labels: Labels) -> float:
    """Return the mean cross-entropy on the validation set of a surrogate trained with points."""
    victim = trained(problem, points, labels)
    return float(cross_entropies(victim, problem.X_val, problem.y_val).mean())


def harm(problem: Problem, points: Floats, labels: Labels, seed: int | None = None) -> float:
    """Return the harm that points do to a surrogate (see `Goal.harm`): by one training, roughly.

    The surrogate meets the validation images behind the wrapper that the victim is known to use.
    """
    victim = trained(problem, points, labels, seed)
    return problem.goal.harm(victim.predict(problem.X_met), problem.y_val)


def most_harmful(problem: Problem, candidates: Mapping[str, Points]) -> tuple[str, float]:
    """Return which candidate does most harm, and the harm that it does.

    One surrogate is trained on each. Where the first of them, the control, is within ``_CLEAR`` of
    the best, more are trained on these two, with other seeds, and the means decide.
    """
    harms = {name: [harm(problem, *points, seed=0)] for name, points in candidates.items()}
    control, best = next(iter(harms)), max(harms, key=lambda name: harms[name][0])
    if best != control and harms[best][0] - harms[control][0] < _CLEAR:
        for name in (control, best):
            harms[name] += [
                harm(problem, *candidates[name], seed=seed) for seed in range(1, _TRAININGS)
            ]
    means = {name: float(np.mean(harms[name])) for name in (control, best)}
    chosen = best if means[best] > means[control] else control
    return chosen, means[chosen]
