"""Training rows under wrong labels, and the random draw of them that attacks are compared with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastadv import seeds
from fastadv.arrays import Labels
from fastadv.attacks.poisoning.problem import Index, Problem


class Flips(NamedTuple):
    """Training rows and a wrong label for each, (p,)."""

    rows: Index
    labels: Labels


def random_flips(problem: Problem, seed: int) -> Flips:
    """Draw rows without replacement (as long as they last) and a wrong label for each."""
    n, n_points, n_classes = len(problem.y), problem.n_points, len(problem.classes)
    rng = seeds.generator(seed, "random flips")
    rows = np.concatenate([rng.permutation(n) for _ in range(-(-n_points // n))])[:n_points]
    labels = (problem.y[rows] + rng.integers(1, n_classes, n_points)) % n_classes
    return Flips(rows, labels.astype(np.int64))
