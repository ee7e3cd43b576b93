"""What the poisoning attacks share: their budget, their threat and their judgement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from fastadv import capabilities, checks, threat
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.errors import InputError, at_least, refuse, require
from fastadv.protocols import Model, RegionSanitizer
from fastadv.results import PoisonEvaluation, PoisonResult
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threat import Threat


class Poisoning(Checked, ABC):
    """Base of the poisoning attacks here; a subclass has fields of these names, and `craft`."""

    fraction: float
    points: int | None
    replace = False  # a field of the attacks that can change rows in place

    needs: ClassVar[frozenset[str]] = frozenset()
    scouts: ClassVar[bool] = False  # whether `plan` returns anything

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.fraction <= 0.5, "fraction has to be in (0, 0.5]", self.fraction)
        at_least(1, points=self.points)
        if self.points is not None:
            self.no_part("points is their number", "fraction")

    @property
    def replaces(self) -> bool:
        """Whether rows are changed in place; otherwise some are added."""
        return self.replace

    def threat(self) -> Threat:
        """Return the share of added points, or their number."""
        return threat.poison(self.fraction, self.points)

    def supports(self, model: Any, task: Task) -> str | None:
        """Return None, or the reason why the attack cannot run."""
        return None

    def adapts(self, defense: Any) -> bool:
        """Return whether the attack chooses other points where it knows the defense.

        Here: whether they are brought inside the region that a sanitizer accepts. Rows that are
        changed in place stay where they are.
        """
        return isinstance(defense, RegionSanitizer) and not self.replaces

    def n_points(self, n_clean: int) -> int:
        """Return the number of points for ``n_clean`` clean rows: ``points``, or the fraction.

        Raises
        ------
        InputError
            If that is less than one.
        """
        n = round(self.fraction * n_clean) if self.points is None else self.points
        if n < 1:
            raise InputError(
                f"a fraction of {self.fraction:g} of {n_clean} images is less than one point"
            )
        return n

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
        defense: Any = None,
        plan: dict[str, Any] | None = None,
    ) -> PoisonResult:
        """Return the poisoned training set; the inputs, and ``model``, are left alone.

        Parameters
        ----------
        model : estimator
            What the victim will train.
        X_train, X_val : ndarray of shape (n, d) and (m, d)
            The clean training set, and other images, by which the attacker chooses.
        y_train, y_val : ndarray of shape (n,) and (m,)
            Labels of any kind.
        task : Task
            Of the data: the shape of an image, the bounds of a pixel.
        seed : int
            Of all that is drawn.
        defense : Defense or None
            What the victim is known to use; None: the attacker knows of none. It matters only where
            the attack `adapts` to it.
        plan : dict or None
            What `scout` returned of the same data, model and defense; None: it is made here.

        Raises
        ------
        InputError
            If the data do not fit, or the attack cannot run on them.
        """
        problem = self._problem(model, (X_train, y_train), (X_val, y_val), task, seed, defense)
        plan = self.plan(replace(problem, seed=0)) if plan is None else plan
        crafted = problem.existing(self.craft(replace(problem, plan=plan)))
        return problem.put_in_place(crafted) if self.replaces else problem.add(crafted)

    def plan(self, problem: Problem) -> dict[str, Any]:
        """Return what of the choice hangs on the data and the model alone, in plain values.

        What takes long belongs here: a grid has it once for all its runs. `craft` finds it in
        ``problem.plan``.
        """
        return {}

    def scout(
        self,
        model: Any,
        X_train: Floats,
        y_train: Labels,
        X_val: Floats,
        y_val: Labels,
        *,
        task: Task,
        defense: Any = None,
    ) -> dict[str, Any]:
        """Return what `poison` takes as ``plan``, for any seed; the arguments are as there."""
        problem = self._problem(model, (X_train, y_train), (X_val, y_val), task, 0, defense)
        return self.plan(problem)

    def _problem(
        self,
        model: Any,
        train: tuple[Floats, Labels],
        val: tuple[Floats, Labels],
        task: Task,
        seed: int,
        defense: Any,
    ) -> Problem:
        problem = Problem.of(
            model, *train, *val, task=task, budget=self.n_points, seed=seed,
            defense=defense if self.adapts(defense) else None,
        )  # fmt: skip
        refuse(capabilities.supports(self, model, problem.task))
        return problem

    @abstractmethod
    def craft(self, problem: Problem) -> Crafted:
        """Choose ``problem.n_points`` points."""

    def evaluate(
        self,
        model: Model,
        X: Floats,
        y: Labels,
        *,
        trigger: Floats | None = None,
        target: Any = None,
    ) -> PoisonEvaluation:
        """Judge a trained model by the images X (n, d) that it gets right, without any trigger."""
        predicted = model.predict(X)
        return PoisonEvaluation(predicted, predicted == checks.labels(y, len(predicted)))
