"""Label flips: copies of training images under a wrong label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fastadv import seeds, threat
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning import base
from fastadv.attacks.poisoning.goal import Goal
from fastadv.attacks.poisoning.regions import Trial
from fastadv.errors import at_least
from fastadv.models.base import class_columns
from fastadv.protocols import Model, Projection
from fastadv.results import PoisonResult
from fastadv.task import Task
from fastadv.threat import Threat

_DRAWS = 5  # of random flips that ``worst`` tries

# rows, wrong labels, details
Flips = tuple[npt.NDArray[np.intp], Labels, dict[str, Any]]


@dataclass(frozen=True)
class LabelFlip(base.Poisoning):
    """Add relabelled copies of training images, or relabel in place.

    Parameters
    ----------
    strategy : {"random", "coherent", "worst"}
        ``random``: images drawn at random, each under a wrong label drawn at random, the baseline
        that every poisoning attack has to beat. ``coherent``: one region of one class under one
        wrong label, chosen on the attacker's validation set. ``worst``: whichever raises the loss
        on that set most of several random draws; the images that a clean model is surest of, each
        under the label that it holds for least likely; those nearest to another class, under its
        label; and the coherent region. Each is trained on once.
    fraction : float
        Added points over clean ones.
    points : int or None
        Their number, in place of ``fraction``.
    replace : bool
        Relabel rows of the training set, each once at most, in place of adding copies.
    regions : int
        How many regions ``coherent`` tries on the whole training set.
    """

    strategy: Literal["random", "coherent", "worst"] = "random"
    fraction: float = 0.03
    points: int | None = None
    replace: bool = False
    regions: int = 3

    name: ClassVar[str] = "label_flip"
    reference: ClassVar[str] = "Biggio, Nelson and Laskov, ACML 2011, section 4"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, regions=self.regions)
        if self.strategy == "random":
            self.no_part("it is for strategy=coherent and worst", "regions")

    def threat(self) -> Threat:
        """Return the share of added points, or their number."""
        return threat.poison(self.fraction, self.points)

    @property
    def replaces(self) -> bool:
        """Whether rows are relabelled in place."""
        return self.replace

    def baseline(self, n_clean: int) -> LabelFlip | None:
        """Return as many random flips, added; None for random flips themselves."""
        random = self.strategy == "random"
        return None if random else LabelFlip(points=self.n_points(n_clean))

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
        problem = base.Problem.of(X_train, y_train, X_val, y_val, task, project)
        X, y, classes = problem.X, problem.y, problem.classes
        n_points = self.n_points(len(X))
        trial = Trial(model, X, y, problem.X_val, problem.y_val, Goal(), seed)
        details: dict[str, Any] = {}
        if self.strategy == "random":
            rows, labels = random_flips(y, n_points, len(classes), seed)
        elif self.strategy == "coherent":
            rows, labels, details = self._coherent(trial, n_points, problem.task)
        else:
            rows, labels, details = self._worst(trial, n_points, problem.task)
        if self.replace:
            return problem.in_place(rows, X[rows], labels, details)
        inside = problem.project
        copies = X[rows] if inside is None else inside(X[rows], labels)
        return problem.with_points(copies, labels, details=details, origin=rows)

    def _coherent(self, trial: Trial, n_points: int, task: Task) -> Flips:
        region, harm = trial.choose(n_points, self.regions)[0]
        labels = np.full(n_points, region.target, dtype=np.int64)
        return region.rows, labels, {"region": region.described(task), "harm": harm}

    def _worst(self, trial: Trial, n_points: int, task: Task) -> Flips:
        X, y = trial.X, trial.y
        rows, labels, _ = self._coherent(trial, n_points, task)
        candidates = {
            "coherent": (rows, labels), **_by_margin(trial.surrogate().fit(X, y), X, y, n_points)
        }  # fmt: skip
        for draw in range(_DRAWS):
            drawn_by = seeds.derive(trial.seed, "draw", draw)
            candidates[f"random {draw}"] = random_flips(y, n_points, task.n_classes, drawn_by)
        losses = {name: trial.loss(X[rows], labels) for name, (rows, labels) in candidates.items()}
        name = max(losses, key=lambda name: losses[name])
        return *candidates[name], {"kind": name.partition(" ")[0], "validation_loss": losses[name]}


def _by_margin(
    fitted: Model, X: Floats, y: Labels, n_points: int
) -> dict[str, tuple[npt.NDArray[np.intp], Labels]]:
    """Return the flips of the images farthest from and nearest to another class."""
    logits, everyone = fitted.logits(X).astype(np.float64), np.arange(len(y))
    own = class_columns(fitted, y)
    margins = logits[everyone, own][:, None] - logits
    margins[everyone, own] = -np.inf
    farthest = margins.argmax(axis=1)
    rows_far = np.argsort(-margins[everyone, farthest], kind="stable")
    margins[everyone, own] = np.inf
    nearest = margins.argmin(axis=1)
    rows_near = np.argsort(margins[everyone, nearest], kind="stable")
    flips = {}
    for name, rows, columns in (("surest", rows_far, farthest), ("nearest", rows_near, nearest)):
        chosen = np.resize(rows, n_points)
        flips[name] = chosen, fitted.classes_[columns[chosen]].astype(np.int64)
    return flips


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
