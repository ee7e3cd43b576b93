"""What the parts of fastadv ask of one another: models, attacks and defenses.

Attacks and defenses are written against these protocols alone, so that a model, an attack or a
defense from outside fits in without inheriting from anything here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Floats, Ids, Labels, Mask
from fastadv.results import Certificate, EvasionResult, PoisonEvaluation, PoisonResult
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

Pullback = Callable[[Floats], Floats]


@runtime_checkable
class Model(Protocol):
    """A classifier whose logits can be computed and differentiated with respect to its input.

    ``classes_`` holds the labels in the order of the columns of the logits.
    """

    classes_: npt.NDArray[Any]

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the label of each row of X, shape (n,)."""
        ...

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, n_classes)."""
        ...

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits and the pullback: d(loss)/d(logits) (n, k) to d(loss)/dX (n, d)."""
        ...


class Nearby(Protocol):
    """Images that change in a few pixels at a time, and the logits that go with them.

    A model has a method ``nearby(X)`` that returns one, beginning with the images X (n, d), if it
    can tell the logits after such a change in less time than anew.
    """

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Floats:
        """Return the logits of X, where image i is near the kept image ``rows[i]``, (n, k)."""
        ...

    def move(self, rows: npt.NDArray[np.intp], X: Floats) -> None:
        """Keep X in place of the images ``rows``."""
        ...


class PoisonObjective(Protocol):
    """The validation loss after training as a function of points (p, d) in the training set."""

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss and its gradient (p, d), both float64."""
        ...

    def loss(self, points: Float64) -> float:
        """Return the loss alone."""
        ...


class PoisonableModel(Model, Protocol):
    """A model whose training can be differentiated with respect to its training rows."""

    def poison_objective(
        self,
        X_train: Floats,
        y_train: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: Labels,
    ) -> PoisonObjective:
        """Return the validation loss after training as a function of ``X_train[index]``.

        It keeps what does not change from one call to the next, and leaves its argument
        alone. It may be called from one thread at a time.
        """
        ...

    def poison_gradient(
        self,
        X_train: Floats,
        y_train: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: Labels,
    ) -> tuple[float, Float64]:
        """Return the objective at ``X_train[index]``: the loss and its gradient."""
        ...


Projection = Callable[[Floats, Labels], Floats]


@runtime_checkable
class EvasionAttack(Protocol):
    """An attack on a trained model: a frozen dataclass whose fields are its hyper-parameters."""

    name: ClassVar[str]
    reference: ClassVar[str]
    needs: ClassVar[frozenset[str]]

    def threat(self) -> Threat:
        """Return what the attack's figures are conditional on."""
        ...

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or the reason why the attack cannot run."""
        ...

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, dict[str, npt.NDArray[Any]]]:
        """Attack one chunk of images, float32 in C order, without any judgement of success.

        In the calling thread; ``y`` and ``target`` are columns of the logits.
        """
        ...

    def perturb(
        self,
        model: Model,
        X: Floats,
        y: Labels,
        *,
        task: Task,
        target: Labels | None = None,
        seed: int = 0,
        sample_ids: Ids | None = None,
    ) -> EvasionResult:
        """Attack every row of X."""
        ...


@runtime_checkable
class PoisoningAttack(Protocol):
    """An attack on the training set: a frozen dataclass whose fields are its hyper-parameters.

    One that changes rows in place, in place of adding some, has an attribute ``replaces`` that is
    true.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    needs: ClassVar[frozenset[str]]

    def threat(self) -> Threat:
        """Return what the attack's figures are conditional on."""
        ...

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or the reason why the attack cannot run."""
        ...

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
        """Return the poisoned training set; the inputs are left alone."""
        ...

    def n_points(self, n_clean: int) -> int:
        """Return how many points the budget is on a training set of ``n_clean`` rows.

        Raises
        ------
        InputError
            If that is less than one.
        """
        ...

    def baseline(self, n_clean: int) -> PoisoningAttack | None:
        """Return the control to compare with on such a set: as many random label flips.

        None if the attack is that control itself, or if there is nothing to compare with. Raises
        what `n_points` does.
        """
        ...

    def evaluate(
        self, model: Model, X: Floats, y: Labels, *, trigger: Floats | None, target: Any
    ) -> PoisonEvaluation:
        """Judge a model by test images and their labels, with the trigger of the `PoisonResult`.

        ``target`` is the label that it calls, ``details["target"]`` there. The model is trained on
        the poisoned set, or, to compare with, on another.
        """
        ...


class Defense(Protocol):
    """A frozen dataclass with one or more of ``sanitize``, ``fit``, ``wrap`` and ``certify``.

    A sanitizer that asks a model has ``screen`` in place of ``sanitize``. It may also have
    ``refuses(attack) -> str | None``, why an attack cannot run against it, and
    ``warns(n_train, task) -> (message, remedy) | None``, why so many images are too few for it.
    """

    name: ClassVar[str]
    reference: ClassVar[str]


@runtime_checkable
class Sanitizer(Protocol):
    """A defense that cleans the training set."""

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Return which rows to keep, shape (n,), and the labels to train on, shape (n,)."""
        ...


class Region(Protocol):
    """The images that a sanitizer accepts under each label."""

    def accepts(self, X: Floats, y: Labels) -> Mask:
        """Return which rows stay, shape (n,)."""
        ...

    def project(self, X: Floats, y: Labels) -> Floats:
        """Return X (n, d) brought inside, for an attacker who knows the region.

        Runs in the calling thread.
        """
        ...


@runtime_checkable
class RegionSanitizer(Protocol):
    """A sanitizer that keeps what lies in a region, which it can draw around trusted images.

    ``trusted`` says whether it wants such images; without them it draws the region around what it
    has to clean.
    """

    trusted: bool

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Return which rows to keep by a region around the rows themselves, and the labels."""
        ...

    def region(self, X: Floats, y: Labels, *, task: Task) -> Region:
        """Return the region around these images."""
        ...


@runtime_checkable
class ModelSanitizer(Protocol):
    """A defense that cleans the training set by what a model makes of it."""

    def screen(
        self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int
    ) -> tuple[Mask, Labels]:
        """Return which rows to keep and their labels; ``model`` itself stays untrained."""
        ...


@runtime_checkable
class RobustTraining(Protocol):
    """A defense that trains in its own way."""

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> Model:
        """Return a trained model; ``model`` itself stays untrained."""
        ...


@runtime_checkable
class Wrapper(Protocol):
    """A defense that stands between the input and a trained model."""

    def wrap(self, model: Model, *, task: Task) -> Model:
        """Return the model as its users would meet it."""
        ...


@runtime_checkable
class Certifier(Protocol):
    """A defense that proves for single images that no attack within a distance changes them."""

    def threat(self) -> Threat:
        """Return the distance and the radius that its certified accuracy is stated for."""
        ...

    def certify(self, model: Model, X: Floats, *, task: Task, seed: int) -> Certificate:
        """Certify every row of X; ``model`` is as it was trained, without the wrapper."""
        ...
