"""Poisoning points found by the exact gradient through training (Biggio et al., ICML 2012).

The attacker adds points with wrong labels and moves them to raise the validation loss of the model
that is trained on them (see `ascent`). The model gives that loss and its gradient
(`poison_objective`): an SVM, and what of scikit-learn ends at an optimum, from the conditions that
its solution obeys, a perceptron by differentiating every step of its training (Munoz-Gonzalez et
al., AISec 2017). The points start as training images under a wrong label.

Beyond ``subset_size`` images the points are a coherent region, and moved only where that is asked
for: see `full_scale`. Against a known defense they are what survives it: see `adaptive`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from fastadv import capabilities, checks, seeds
from fastadv.attacks.poisoning import adaptive, crowds, filtered, full_scale, known, surrogates
from fastadv.attacks.poisoning.ascent import Ascent
from fastadv.attacks.poisoning.base import Poisoning
from fastadv.attacks.poisoning.flips import Flips, random_flips
from fastadv.attacks.poisoning.goal import Goal
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.attacks.poisoning.surrogates import Points
from fastadv.errors import InputError, at_least, require
from fastadv.protocols import Model
from fastadv.task import Task

_STEPS, _STEP_SIZE, _RESTARTS = 50, 1.0, 2  # unless given

Way = int | Literal["random"]  # to label the points: all alike, or each at random


@dataclass(frozen=True)
class Biggio(Poisoning):
    """Projected gradient ascent on the validation loss, through the training of the model.

    Parameters
    ----------
    fraction : float
        Added points over clean ones.
    points : int or None
        Their number, in place of ``fraction``.
    steps : int or None
        Gradients for each ascent; None is 50. Of a large training set the points are moved only if
        ``steps``, ``step_size`` or ``passes`` is given; 2 for each subset then.
    step_size : float or None
        Length of the first step of each point, in pixel values (Euclidean); None is 1, or 0.15 on
        subsets.
    restarts : int or None
        Ascents, each from a start of its own; the one that does most harm is kept; None is 2. Of a
        large training set ``regions`` says from how many.
    labels : int or {"worst", "random"}
        Of the points: a class; ``random``, a wrong one for each, in a training set of up to
        ``subset_size`` images; or ``worst``: as many ways as there are restarts, random labels
        first if there are more than two classes, then the classes in the order of the harm that
        their starts do to the validation loss. The ascent that does most harm is kept.
    objective : str
        ``generic``: any error. ``8-3``, error-specific: images of class 8 are to be taken for 3,
        and the points are images of 8 under the label 3 unless ``labels`` says otherwise.
    passes : int
        0: all points move together. Otherwise the points move in turn, ``steps`` gradients each,
        the others held where they are, so many times over.
    norm : {"l2", "linf"}
    eps : float or None
        The farthest that a point may get from the image it started as; None: anywhere in the box.
    subset_size : int
        A larger training set is attacked on subsets of this many images.
    regions : int
        How many regions of such a set are trained on alone, of those that the surrogates which are
        trained on all of them like best.

    Notes
    -----
    The attacker knows the training set, the model and how it is trained, with its random state if
    the whole training set fits into one subset; beyond that the surrogates draw their own.

    ``history`` is the validation loss at the start and after each step, of the best points so far:
    towards the true labels, which rises, or for ``8-3`` towards the labels that the attacker
    wants, which falls.
    """

    fraction: float = 0.03
    points: int | None = None
    steps: int | None = None
    step_size: float | None = None
    restarts: int | None = None
    labels: int | Literal["worst", "random"] = "worst"
    objective: str = "generic"
    passes: int = 0
    norm: Literal["l2", "linf"] = "l2"
    eps: float | None = None
    subset_size: int = 1000
    regions: int = 3

    name: ClassVar[str] = "biggio"
    reference: ClassVar[str] = (
        "Biggio et al., ICML 2012, arXiv 1206.6389; "
        "Munoz-Gonzalez et al., AISec 2017, arXiv 1708.08689"
    )
    needs: ClassVar[frozenset[str]] = frozenset({"poison_objective"})
    scouts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps is None or self.steps >= 1, "steps has to be at least 1", self.steps)
        length = self.step_size
        require(length is None or length > 0, "step_size has to be above 0", length)
        at_least(1, restarts=self.restarts)
        require(self.passes >= 0, "passes has to be at least 0", self.passes)
        require(self.eps is None or self.eps > 0, "eps has to be above 0", self.eps)
        require(self.subset_size >= 10, "subset_size has to be at least 10", self.subset_size)
        require(self.regions >= 1, "regions has to be at least 1", self.regions)
        if self.eps is None:
            self.no_part("it is that of eps", "norm")
        Goal.classes(self.objective)

    def baseline(self, n_clean: int) -> LabelFlip:
        """Return as many random label flips."""
        return LabelFlip(points=self.n_points(n_clean))

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or why the attack cannot run: training has to be differentiable."""
        reason = capabilities.no_derivative(model)
        named = [self.labels] if isinstance(self.labels, int) else []
        return reason or checks.no_such_class(task, *named, *Goal.classes(self.objective))

    def seconds(self, model: Any, n_rows: int, task: Task) -> float | None:
        """Return about how long `poison` takes, of a model that says how long its gradients do.

        None where it does not, and of a training set beyond ``subset_size``.
        """
        each = capabilities.gradient_seconds(model, n_rows, task)
        if each is None or n_rows > self.subset_size:
            return None
        moves = self.passes * self.n_points(n_rows) if self.passes else 1
        ascents = (self.restarts or _RESTARTS) * moves * (self.steps or _STEPS)
        starts = task.n_classes + 1 if self.labels == "worst" else 0
        return each * (ascents + starts)

    def adapts(self, defense: Any) -> bool:
        """Return whether the attack chooses other points where it knows the defense."""
        return adaptive.knows(defense)

    def plan(self, problem: Problem) -> dict[str, Any]:
        """Return crowds that outvote neighbours, or what surrogates say of a large training set."""
        problem, label = self._posed(problem)
        crowded = adaptive.crowds_of(problem, means=True, label=label)
        if crowded is not None:
            return crowded
        if len(problem.X) <= self.subset_size:
            return {}
        return full_scale.plan(problem, label, self.regions)

    def craft(self, problem: Problem) -> Crafted:
        """Return the points that do most harm to the model."""
        plan = problem.plan or self.plan(problem)
        problem, label = self._posed(problem)
        if "crowds" in plan:
            return crowds.craft(problem, plan)
        if not plan:
            return self._small(problem, label)
        moving = self.steps is not None or self.step_size is not None or self.passes > 0
        if moving and "side" in plan:
            ascent = self._ascent(full_scale.STEPS, full_scale.STEP_SIZE)
            return full_scale.moved(problem, ascent, plan, self.subset_size)
        return full_scale.craft(problem, plan)

    def _posed(self, problem: Problem) -> tuple[Problem, int | None]:
        """Return the problem with what the attack wants, and the label that it has settled on."""
        goal = Goal.parse(self.objective, problem.task)
        goal.check(problem.y_val, problem.task)
        fixed = self.labels if isinstance(self.labels, int) else None
        size = f"subset_size={self.subset_size} images"
        if len(problem.X) <= self.subset_size:
            self.no_part(f"it is for more than {size}", "regions")
        else:
            self.no_part(f"it is for up to {size}", "restarts")
            if self.labels == "random":
                raise InputError(
                    f"labels=random is for up to {size}: beyond, the points are a region under "
                    "one label"
                )
        label = None if fixed is None else problem.task.label_of(fixed)
        return replace(problem, goal=goal, norm=self.norm, eps=self.eps), label

    def _small(self, problem: Problem, label: int | None) -> Crafted:
        """Return the points for a small training set: moved ones, or what a filter calls for."""
        moved = self._best_of_starts(problem, label)
        if not known.filters(problem.defense):
            return moved
        made = {
            name: filtered.craft(problem, plan)
            for name, plan in filtered.plans(problem, label).items()
        }
        made = {"moved": moved, **made, "random flips": full_scale.craft(problem, full_scale.FLIPS)}
        name, harm = surrogates.most_harmful(
            problem, {name: Points(c.points, c.labels) for name, c in made.items()}
        )
        return replace(made[name], details={**made[name].details, "harm": harm})

    def _ascent(self, steps: int, step_size: float) -> Ascent:
        """Return the ascent, with these where the attack leaves them open."""
        return Ascent(self.steps or steps, self.step_size or step_size, self.passes)

    def _best_of_starts(self, problem: Problem, label: int | None) -> Crafted:
        """Ascend from the likeliest starts and return the points that do most harm."""
        sign, task, ascent = problem.goal.sign, problem.task, self._ascent(_STEPS, _STEP_SIZE)
        ways, restarts = self._ways_to_label(problem, label), self.restarts or _RESTARTS
        starts = [
            (turn, way, _flips(problem, way, seeds.derive(problem.seed, "start", turn)))
            for turn in range(-(-restarts // len(ways)))
            for way in ways
        ]

        def rank(start: tuple[int, Way, Flips]) -> tuple[int, bool, float]:
            turn, way, flips = start
            points = problem.X[flips.rows]
            loss = problem.objective(points, flips.labels).loss(points.astype(np.float64))
            return turn, way != "random", -sign * loss

        def ascended(flips: Flips) -> tuple[float, Crafted]:
            rows, labels = flips
            feasible = problem.feasible(rows, labels)
            points, history = ascent.move(problem, feasible.start, feasible)
            name = task.name_of(labels[0]) if np.all(labels == labels[0]) else "mixed"
            crafted = Crafted(points, labels, rows, history, {"labels": name})
            return sign * history[-1], crafted

        if len(starts) > restarts:
            starts = sorted(starts, key=rank)[:restarts]
        return max((ascended(flips) for _, _, flips in starts), key=lambda pair: pair[0])[1]

    def _ways_to_label(self, problem: Problem, label: int | None) -> list[Way]:
        if label is not None:
            return [label]
        if problem.goal.target is not None:
            return [problem.goal.target]
        if self.labels == "random":
            return ["random"]
        each: list[Way] = list(range(len(problem.classes)))
        return each if len(each) == 2 else ["random", *each]


def _flips(problem: Problem, way: Way, seed: int) -> Flips:
    """Draw training images and their wrong labels."""
    if way == "random":
        return random_flips(problem, seed)
    y, source = problem.y, problem.goal.source
    wrong = np.flatnonzero(y != way if source in (None, way) else y == source)
    rows = np.resize(seeds.generator(seed, "flips").permutation(wrong), problem.n_points)
    return Flips(rows, np.full(len(rows), way, dtype=np.int64))
