"""What the parts of fastadv ask of one another: models, attacks and defenses.

Attacks and defenses are written against these protocols alone, so that a model, an attack or a
defense from outside fits in without inheriting from anything here. What of them an object keeps to
is asked in `fastadv.capabilities`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays, Float32, Float64, Floats, Ids, Labels, Mask
from fastadv.results import Certificate, EvasionResult, PoisonEvaluation, PoisonResult
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

Pullback = Callable[[Floats], Floats]


@runtime_checkable
class Logits(Protocol):
    """A model that tells its logits."""

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, n_classes)."""
        ...


@runtime_checkable
class Classifier(Logits, Protocol):
    """A trained model of which labels and logits can be asked.

    ``classes_`` holds the labels in the order of the columns of the logits. It may have
    ``batch_rows``, how many rows attacks are to give it at once, and ``any_thread``, whether it may
    be called from several threads at once: see `fastadv.batches`; and ``computed_by``, the package
    whose version its numbers hang on, if fastadv itself does not need that (``"torch"``).
    """

    classes_: npt.NDArray[Any]

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the label of each row of X, shape (n,)."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model whose logits can be differentiated with respect to its input."""

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits and the pullback: d(loss)/d(logits) (n, k) to d(loss)/dX (n, d)."""
        ...


@runtime_checkable
class Model(Classifier, Differentiable, Protocol):
    """A classifier that can be differentiated."""


@runtime_checkable
class Trainable(Protocol):
    """A model that learns from rows, and that `sklearn.base.clone` copies untrained.

    It may have ``set_params(**parameters)``, to be trained with others; ``bind(task) -> model``,
    which returns it knowing the shape of the images; and ``resolve(X) -> model``, a copy whose
    parameters are what the clean training set makes of them.
    """

    def fit(self, X: Floats, y: npt.NDArray[Any]) -> Any:
        """Train on X (n, d) and labels y (n,), and return itself."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters."""
        ...


# (model as it stands, rows of the batch, their row numbers in X, their class columns) -> rows to
# train on
Perturb = Callable[[Any, Float32, Labels, Labels], Float32]

# (model as it stands, rows of the batch, their row numbers in X, their class columns, gradient of
# all parameters to fill) -> the batch's loss; both summed over its rows
BatchGradient = Callable[[Any, Float32, Labels, Labels, Float32], float]


@runtime_checkable
class BatchTrainable(Trainable, Protocol):
    """A model that learns in batches, each of which can be changed just before its step."""

    def fit_perturbed(self, X: Floats, y: npt.NDArray[Any], perturb: Perturb | None) -> Any:
        """Train as ``fit`` does, on what ``perturb`` makes of each batch, and return itself."""
        ...


@runtime_checkable
class LossTrainable(Trainable, Protocol):
    """A model that learns in batches by any loss whose gradient it is given."""

    def fit_gradient(self, X: Floats, y: npt.NDArray[Any], gradient: BatchGradient) -> Any:
        """Train as ``fit`` does, by the gradient of each batch, and return itself."""
        ...

    def parameter_vjp(self, X: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
        """Return the logits and the pullback to all parameters: (n, k) to (P,), summed over rows.

        In the calling thread.
        """
        ...


@runtime_checkable
class Layered(Protocol):
    """A model that is a `fastadv.models.network.Network` of dense layers from input to logits."""

    def network(self) -> Any:
        """Return the parameters as they stand and the shape of the network; a view."""
        ...


@runtime_checkable
class Features(Protocol):
    """A model that tells how it represents images inside."""

    def features(self, X: Floats, *, activated: bool = True) -> Floats:
        """Return what the last hidden layer makes of X, (n, width); without one, X itself.

        Not ``activated``: what that layer sums up, before its activation.
        """
        ...


class Nearby(Protocol):
    """Images that change in a few pixels at a time, and the logits that go with them."""

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Floats:
        """Return the logits of X, where image i is near the kept image ``rows[i]``, (n, k)."""
        ...

    def move(self, rows: npt.NDArray[np.intp], X: Floats) -> None:
        """Keep X in place of the images ``rows``."""
        ...


@runtime_checkable
class Incremental(Protocol):
    """A model that tells the logits after a change of few pixels in less time than anew."""

    def nearby(self, X: Floats) -> Nearby:
        """Return what follows images from X (n, d) on."""
        ...


@runtime_checkable
class Persistent(Protocol):
    """A trained model that is a few plain arrays, and can be kept in a file."""

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that the trained model is, the constructor's parameters as JSON among it.

        Raises
        ------
        InputError
            If its classes are objects, which no plain array holds.
        """
        ...

    @classmethod
    def from_state(cls, arrays: dict[str, npt.NDArray[Any]]) -> Any:
        """Return the model of which `state` gave these arrays.

        Raises
        ------
        InputError
            If they do not fit together.
        """
        ...

    def save(self, path: str | Path) -> None:
        """Write the state to a file of plain arrays, without code."""
        ...

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read what `save` has written."""
        ...


class PoisonObjective(Protocol):
    """The validation loss after training as a function of points (p, d) in the training set."""

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss and its gradient (p, d), both float64."""
        ...

    def loss(self, points: Float64) -> float:
        """Return the loss alone."""
        ...


@runtime_checkable
class PoisonableModel(Protocol):
    """A model whose training can be differentiated with respect to its training rows."""

    def poison_objective(
        self,
        X_train: Floats,
        y_train: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: Labels,
    ) -> PoisonObjective:
        """Return the validation loss after training as a function of the rows ``index``.

        Parameters
        ----------
        X_train, y_train : ndarray of shape (n, d) and (n,)
            The training set, poison included.
        index : ndarray of int, shape (p,)
            The rows of X_train that the attacker moves.
        X_val, y_val : ndarray of shape (m, d) and (m,)
            The labels have to occur in y_train.

        Returns
        -------
        objective : callable
            ``objective(points)`` trains with ``points`` (p, d), float64, in place of
            X_train[index] and returns the validation loss and its exact gradient with respect to
            them, (p, d), float64; ``objective.loss(points)`` the loss alone. What does not change
            between calls is computed once, and the arguments are left alone. It may be called from
            one thread at a time.
        """
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
class WarmStarted(Protocol):
    """An evasion attack that can begin at images that it is given."""

    def random_start(self, x: Floats, *, task: Task, stream: Stream) -> Floats:
        """Return where ``craft`` begins by itself, (n, d)."""
        ...

    def craft_from(
        self,
        start: Floats,
        model: Model,
        x: Floats,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, dict[str, npt.NDArray[Any]]]:
        """Attack as ``craft`` does, from ``start`` (n, d) on, which may be modified."""
        ...


@runtime_checkable
class PoisoningAttack(Protocol):
    """An attack on the training set: a frozen dataclass whose fields are its hyper-parameters.

    One that changes rows in place, in place of adding some, has an attribute ``replaces`` that is
    true. One that chooses other points where it knows the defense has ``adapts(defense) -> bool``,
    and its ``poison`` takes ``defense``, the defense that the victim will use; it is given those
    alone that it adapts to. One of which a part of the choice is the same for every seed has an
    attribute ``scouts`` that is true, and ``scout``, with the arguments of ``poison`` but for the
    seed: it returns plain values, which ``poison`` takes as ``plan``.
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
    ``supports(model, task) -> str | None``, why it cannot defend a model;
    ``refuses(attack) -> str | None``, why an attack cannot run against it;
    ``warns(n_train, task) -> (message, remedy) | None``, why so many images are too few for it; and
    ``trains``, the class of what its ``fit`` returns where that is not the class of the model.
    """

    name: ClassVar[str]
    reference: ClassVar[str]


@runtime_checkable
class Sanitizer(Protocol):
    """A defense that cleans the training set."""

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Return which rows to keep, shape (n,), and the labels to train on, shape (n,)."""
        ...


@runtime_checkable
class SurveyingSanitizer(Sanitizer, Protocol):
    """A sanitizer that judges a set in less time once it has looked at one that is nearly it."""

    def survey(self, X: Floats, *, trusted: Floats, task: Task) -> Arrays:
        """Return what it can know of the images X before any of them changes, as plain arrays.

        ``trusted`` are other images, known to be clean.
        """
        ...

    def sanitize_from(
        self,
        survey: Arrays,
        X: Floats,
        y: Labels,
        changed: npt.NDArray[np.intp],
        *,
        task: Task,
        seed: int,
    ) -> tuple[Mask, Labels]:
        """Return what ``sanitize`` does, to the bit what a survey of X itself would lead to.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            The images that were surveyed, and any others behind them.
        changed : ndarray of int
            The rows that are, or may be, not the image that was surveyed there; those behind need
            not be among them.
        """
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
class RegionSanitizer(Sanitizer, Protocol):
    """A sanitizer that keeps what lies in a region, which it can draw around trusted images.

    ``trusted`` says whether it wants such images; without them it draws the region around what it
    has to clean.
    """

    trusted: bool

    def region(self, X: Floats, y: Labels, *, task: Task) -> Region:
        """Return the region around these images."""
        ...


@runtime_checkable
class NeighborSanitizer(Sanitizer, Protocol):
    """A sanitizer that gives an image the label which its nearest neighbours agree on.

    That of at least a share ``eta`` of ``neighbors`` others, among the images' first ``components``
    principal components; None: among the images themselves.
    """

    neighbors: int
    eta: float
    components: int | None


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
