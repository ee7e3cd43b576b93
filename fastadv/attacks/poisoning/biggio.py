"""Poisoning points found by the exact gradient through training (Biggio et al., ICML 2012).

The attacker adds points with wrong labels and moves them to raise the validation loss of the model
that is trained on them:

    x  <-  box( x + t u ),   u the unit gradient of the validation loss after training

where the model's ``poison_gradient`` differentiates through every step of training. Components
that push out of an active bound are dropped before the gradient is normalised, or the step would
stall on the zeros of MNIST; a line search keeps the best points, not the last.

For a training set beyond ``subset_size`` the points start as a coherent region (see `regions`) and
are moved on subsets: the images of the two classes concerned, among them the originals of the
points, dealt into parts with their share of the points. Then the moved set meets the set that it
started from on the whole training set, and what does more harm on the attacker's validation images
is added. A gradient through training is exact for the run that it follows, other batches and other
first weights move it, and points that move together become something that a network can tell
apart from clean images: so the start can win, and the result says which did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastadv import seeds, threat
from fastadv.attacks.checks import require
from fastadv.attacks.poisoning import base
from fastadv.attacks.poisoning import regions as coherent
from fastadv.protocols import Float64, Floats, Labels, Model, PoisonResult, Projection, Task
from fastadv.threads import map_chunks
from fastadv.threat import Threat

_GROW, _SHRINK = 1.5, 0.5  # of the step, after one that raised the loss and one that did not


@dataclass(frozen=True)
class Biggio:
    """Projected gradient ascent on the validation loss, through the training of the model.

    Parameters
    ----------
    fraction : float
        Added points over clean ones.
    points : int or None
        Their number, in place of ``fraction``.
    steps : int
        Exact gradients, for each subset.
    step_size : float
        Length of the first step of each point, in pixel values (Euclidean).
    subset_size : int
        Clean images of a subset, at most.
    regions : int
        How many starting regions are tried on the whole training set.

    Notes
    -----
    The attacker knows the training set, the model and how it is trained, with its random state if
    the whole training set fits into one subset; beyond that the surrogates draw their own.
    """

    fraction: float = 0.03
    points: int | None = None
    steps: int = 2
    step_size: float = 0.1
    subset_size: int = 1000
    regions: int = 3

    name: ClassVar[str] = "biggio"
    reference: ClassVar[str] = (
        "Biggio et al., ICML 2012, arXiv 1206.6389; "
        "Munoz-Gonzalez et al., AISec 2017, arXiv 1708.08689"
    )
    needs: ClassVar[frozenset[str]] = frozenset({"poison_gradient"})

    def __post_init__(self) -> None:
        base.check_amount(self.fraction, self.points)
        require(self.steps >= 1, "steps has to be at least 1", self.steps)
        require(self.step_size > 0, "step_size has to be above 0", self.step_size)
        require(self.subset_size >= 10, "subset_size has to be at least 10", self.subset_size)
        require(self.regions >= 1, "regions has to be at least 1", self.regions)

    def threat(self) -> Threat:
        """Return the share of added points."""
        return threat.poison(self.fraction)

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or why the attack cannot run: training has to be differentiable."""
        if not hasattr(model, "poison_gradient"):
            return "biggio needs a model with poison_gradient"
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
        """Add the points that do most harm; ``history`` is the mean validation loss by step."""
        X, y, X_val, y_val = base.check_data(X_train, y_train, X_val, y_val, task)
        n_points = base.amount(self.fraction, self.points, len(X))
        region, start_accuracy = coherent.choose(
            model, X, y, X_val, y_val, n_points, self.regions, seed
        )
        labels = np.full(n_points, region.target, dtype=np.int64)
        keep_inside = _Inside(task.bounds, labels, project)
        start = keep_inside(X[region.rows].astype(np.float64), np.arange(n_points))
        details: dict[str, Any] = {"region": str(region)}
        if len(X) <= self.subset_size:
            everything = np.arange(len(X))
            moved, history = self._ascend(
                model,
                X,
                y,
                X_val,
                y_val,
                start,
                labels,
                everything,
                np.arange(n_points),
                keep_inside,
            )
            return base.added(X, y, moved, labels, history, details)

        moved, history = self._on_subsets(
            model, X, y, X_val, y_val, start, labels, region, keep_inside, seed
        )
        accuracy = coherent.validation_accuracy(
            model, X, y, moved.astype(np.float32), region.target, X_val, y_val, seed
        )
        details["validation_accuracy_start"] = start_accuracy
        details["validation_accuracy_moved"] = accuracy
        details["kept"] = "moved" if accuracy < start_accuracy else "start"
        kept = moved if accuracy < start_accuracy else start
        return base.added(X, y, kept, labels, history, details)

    def _on_subsets(
        self,
        model: Any,
        X: Floats,
        y: Labels,
        X_val: Floats,
        y_val: Labels,
        start: Float64,
        labels: Labels,
        region: coherent.Region,
        keep_inside: _Inside,
        seed: int,
    ) -> tuple[Float64, Float64]:
        """Move each part of the points on its own subset; return them all and the mean history."""
        rng = seeds.generator(seed, "subsets")
        local = np.flatnonzero((y == region.source) | (y == region.target))
        others = rng.permutation(np.setdiff1d(local, region.rows))
        n_parts = -(-len(local) // self.subset_size)
        parts = np.array_split(rng.permutation(len(start)), n_parts)
        X_two, y_two = _of_classes(X_val, y_val, region)

        def craft(first: int, last: int) -> list[tuple[Float64, Float64]]:
            out = []
            for k in range(first, last):
                rows = np.concatenate([np.unique(region.rows[parts[k]]), others[k::n_parts]])
                surrogate = coherent.surrogate_of(model, seeds.derive(seed, "subset", k))
                out.append(
                    self._ascend(
                        surrogate, X, y, X_two, y_two, start, labels, rows, parts[k], keep_inside
                    )
                )
            return out

        moved = start.copy()
        results = [result for part in map_chunks(craft, n_parts, 1) for result in part]
        for part, (points, _) in zip(parts, results, strict=True):
            moved[part] = points
        return moved, np.mean([history for _, history in results], axis=0)

    def _ascend(
        self,
        model: Any,
        X: Floats,
        y: Labels,
        X_val: Floats,
        y_val: Labels,
        start: Float64,
        labels: Labels,
        rows: npt.NDArray[np.intp],
        part: npt.NDArray[np.intp],
        keep_inside: _Inside,
    ) -> tuple[Float64, Float64]:
        """Move ``start[part]`` against training on X[rows]; return the best points, the history.

        The history (steps + 1,) is the best validation loss so far, the start's first.
        """
        y_set = np.concatenate([y[rows], labels[part]])
        index = np.arange(len(rows), len(y_set))

        def evaluate(points: Float64) -> tuple[float, Float64]:
            X_set = np.concatenate([X[rows].astype(np.float64), points])
            loss, gradient = model.poison_gradient(X_set, y_set, index, X_val, y_val)
            return loss, gradient

        best = start[part]
        best_loss, gradient = evaluate(best)
        history, step = [best_loss], self.step_size
        for _ in range(self.steps):
            points = keep_inside(best + step * keep_inside.direction(best, gradient), part)
            loss, new_gradient = evaluate(points)
            if loss > best_loss:
                best, best_loss, gradient = points, loss, new_gradient
                step *= _GROW
            else:
                step *= _SHRINK
            history.append(best_loss)
        return best, np.array(history)


@dataclass(frozen=True)
class _Inside:
    """The set that points stay in: the box, and what a sanitizer that is known accepts."""

    bounds: tuple[float, float]
    labels: Labels
    project: Projection | None

    def __call__(self, points: Float64, part: npt.NDArray[np.intp]) -> Float64:
        """Return the points brought inside; ``part`` says which of all they are."""
        if self.project is not None:
            points = np.asarray(self.project(points, self.labels[part]), dtype=np.float64)
        inside: Float64 = np.clip(points, *self.bounds)
        return inside

    def direction(self, points: Float64, gradient: Float64) -> Float64:
        """Return each point's unit gradient without what would only push against the box."""
        low, high = self.bounds
        stuck = ((points <= low) & (gradient < 0)) | ((points >= high) & (gradient > 0))
        free = np.where(stuck, 0.0, gradient)
        length = np.linalg.norm(free, axis=1, keepdims=True)
        unit: Float64 = np.divide(free, length, out=np.zeros_like(free), where=length > 0)
        return unit


def _of_classes(X: Floats, y: Labels, region: coherent.Region) -> tuple[Floats, Labels]:
    rows = np.flatnonzero((y == region.source) | (y == region.target))
    return X[rows], y[rows]
