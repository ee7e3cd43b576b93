"""Label flips: copies of training images under a wrong label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fastadv import seeds, threat
from fastadv.attacks import checks
from fastadv.attacks.poisoning import base, regions
from fastadv.attacks.poisoning.goal import Goal
from fastadv.protocols import Floats, Labels, Model, PoisonResult, Projection, Task
from fastadv.threat import Threat


@dataclass(frozen=True)
class LabelFlip:
    """Add relabelled copies of training images, or relabel in place.

    Parameters
    ----------
    strategy : {"random", "coherent"}
        ``random``: images drawn at random, each under a wrong label drawn at random, the baseline
        that every poisoning attack has to beat. ``coherent``: one region of one class under one
        wrong label, chosen on the attacker's validation set.
    fraction : float
        Added points over clean ones.
    points : int or None
        Their number, in place of ``fraction``.
    replace : bool
        Relabel rows of the training set in place of adding copies.
    regions : int
        How many regions ``coherent`` tries on the whole training set.
    """

    strategy: Literal["random", "coherent"] = "random"
    fraction: float = 0.03
    points: int | None = None
    replace: bool = False
    regions: int = 3

    name: ClassVar[str] = "label_flip"
    reference: ClassVar[str] = "Biggio, Nelson and Laskov, ACML 2011, section 4"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        base.check_amount(self.fraction, self.points)
        checks.require(self.regions >= 1, "regions has to be at least 1", self.regions)

    def threat(self) -> Threat:
        """Return the share of added points, or their number."""
        return threat.poison(self.fraction, self.points)

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None: labels can be flipped for any model."""
        return None

    def poison(
        self,
        model: Any,
        X_train: Floats,
        y_train: Labels,
        X_val: Floats,
        y_val: Labels,
        *,
        task: Task,
        seed: int = 0,
        project: Projection | None = None,
    ) -> PoisonResult:
        """Return the poisoned set: the flips added, or made in place with ``replace``."""
        X, y, X_val, y_val = base.check_data(X_train, y_train, X_val, y_val, task)
        n_points = base.amount(self.fraction, self.points, len(X))
        details: dict[str, Any] = {}
        if self.strategy == "random":
            rows, labels = random_flips(y, n_points, task.n_classes, seed)
        else:
            region, harm = regions.choose(
                model, X, y, X_val, y_val, n_points, self.regions, seed, Goal()
            )
            rows, labels = region.rows, np.full(n_points, region.target, dtype=np.int64)
            details = {"region": str(region), "harm": harm}
        if self.replace:
            relabelled = y.copy()
            relabelled[rows] = labels
            return PoisonResult(X.copy(), relabelled, rows, np.empty(0), details=details)
        copies = X[rows] if project is None else project(X[rows], labels)
        return base.added(X, y, copies, labels, details=details)


def random_flips(
    y: Labels, n_points: int, n_classes: int, seed: int
) -> tuple[npt.NDArray[np.intp], Labels]:
    """Draw rows without replacement (as long as they last) and a wrong label for each."""
    rng = seeds.generator(seed, "random flips")
    rows = np.concatenate([rng.permutation(len(y)) for _ in range(-(-n_points // len(y)))])[
        :n_points
    ]
    labels = (y[rows] + rng.integers(1, n_classes, n_points)) % n_classes
    return rows, labels.astype(np.int64)
