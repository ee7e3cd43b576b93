"""Surrogates: models of the victim's kind that the attacker trains to measure what points do."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from fastadv import seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning.problem import Problem
from fastadv.models.base import cross_entropies


def untrained(model: Any, seed: int) -> Any:
    """Return an untrained copy of ``model`` with a random state, if it has one, of its own."""
    surrogate = clone(model)
    if "random_state" in surrogate.get_params():
        surrogate.set_params(random_state=seeds.derive(seed, "surrogate", 0) % 2**31)
    return surrogate


def trained(problem: Problem, points: Floats, labels: Labels) -> Any:
    """Return a surrogate, trained on the clean set and points (p, d) under labels (p,)."""
    X, y = np.concatenate([problem.X, points]), np.concatenate([problem.y, labels])
    return untrained(problem.model, problem.seed).fit(X, y)


def validation_loss(problem: Problem, points: Floats, labels: Labels) -> float:
    """Return the mean cross-entropy on the validation set of a surrogate trained with points."""
    victim = trained(problem, points, labels)
    return float(cross_entropies(victim, problem.X_val, problem.y_val).mean())


def harm(problem: Problem, points: Floats, labels: Labels) -> float:
    """Return the harm that points do to a surrogate (see `Goal.harm`): by one training, roughly."""
    victim = trained(problem, points, labels)
    return problem.goal.harm(victim.predict(problem.X_val), problem.y_val)
