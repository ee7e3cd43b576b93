"""Label flips: copies of training images under a wrong label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fastadv import seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning import adaptive, crowds, regions, surrogates
from fastadv.attacks.poisoning.base import Poisoning
from fastadv.attacks.poisoning.flips import Flips, random_flips
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.attacks.poisoning.surrogates import Points
from fastadv.errors import at_least
from fastadv.models.base import class_columns
from fastadv.protocols import Model

_DRAWS = 5  # of random flips that ``worst`` tries


@dataclass(frozen=True)
class LabelFlip(Poisoning):
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
        How many regions ``coherent`` trains on alone, of those that the surrogates which are
        trained on all of them like best; with 1, none.

    Notes
    -----
    Where it adds copies, ``coherent`` and ``worst`` take the rule for a known defense (see
    `fastadv.attacks.poisoning.adaptive`), as far as relabelled images can follow it; ``random``
    flips are brought inside the region of a sanitizer.
    """

    strategy: Literal["random", "coherent", "worst"] = "random"
    fraction: float = 0.03
    points: int | None = None
    replace: bool = False
    regions: int = 3

    name: ClassVar[str] = "label_flip"
    reference: ClassVar[str] = "Biggio, Nelson and Laskov, ACML 2011, section 4"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, regions=self.regions)
        if self.strategy == "random":
            self.no_part("it is for strategy=coherent and worst", "regions")

    def baseline(self, n_clean: int) -> LabelFlip | None:
        """Return as many random flips, added; None for random flips themselves."""
        random = self.strategy == "random"
        return None if random else LabelFlip(points=self.n_points(n_clean))

    def adapts(self, defense: Any) -> bool:
        """Return whether the attack chooses other points where it knows the defense."""
        chosen = self.strategy != "random" and not self.replace
        return super().adapts(defense) or (chosen and adaptive.knows_by_labels(defense))

    def craft(self, problem: Problem) -> Crafted:
        """Return relabelled images, inside a sanitizer's region where they are added."""
        details: dict[str, Any] = {}
        crowded = adaptive.crowds_of(problem, means=False)
        if crowded is not None:
            return crowds.craft(problem, crowded)
        if self.strategy == "random":
            flips = random_flips(problem, problem.seed)
        elif self.strategy == "coherent":
            flips, details = self._coherent(problem)
        else:
            flips, details = self._worst(problem)
        rows, labels = flips
        points = problem.X[rows]
        points = points if self.replace else problem.inside(points, labels)
        return Crafted(points, labels, rows, details=details)

    def _coherent(self, problem: Problem) -> tuple[Flips, dict[str, Any]]:
        tried = {r.described(problem.task): r for r in regions.ranked(problem)[: self.regions]}
        name, details = next(iter(tried)), {}
        if len(tried) > 1:
            points = {n: Points(problem.X[r.rows], r.labels) for n, r in tried.items()}
            name, details["harm"] = surrogates.most_harmful(problem, points)
        return Flips(tried[name].rows, tried[name].labels), {"region": name, **details}

    def _worst(self, problem: Problem) -> tuple[Flips, dict[str, Any]]:
        X, y = problem.X, problem.y
        clean = surrogates.untrained(problem.model, problem.seed).fit(X, y)
        candidates = {
            "coherent": self._coherent(problem)[0], **_by_margin(clean, X, y, problem.n_points)
        }  # fmt: skip
        for draw in range(_DRAWS):
            seed = seeds.derive(problem.seed, "draw", draw)
            candidates[f"random {draw}"] = random_flips(problem, seed)
        losses = {
            name: surrogates.validation_loss(problem, X[flips.rows], flips.labels)
            for name, flips in candidates.items()
        }
        name = max(losses, key=lambda name: losses[name])
        details = {"kind": name.partition(" ")[0], "validation_loss": losses[name]}
        return candidates[name], details


def _by_margin(fitted: Model, X: Floats, y: Labels, n_points: int) -> dict[str, Flips]:
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
        labels = fitted.classes_[columns[chosen]].astype(np.int64)
        flips[name] = Flips(chosen, labels)
    return flips
