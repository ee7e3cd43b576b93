"""What the parts of fastadv ask of one another: tasks, models, attacks and defenses.

Attacks and defenses are written against these protocols alone, so that a model, an attack or a
defense from outside fits in without inheriting from anything here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError, at_least, require
from fastadv.seeds import Stream
from fastadv.specs import coerce
from fastadv.threat import Threat

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Task:
    """What attacks and defenses need to know of the data.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width, channels); a row of X is an image of this shape in C order. (height, width)
        stands for one channel. What can only be (channels, height, width) is refused.
    n_classes : int
        How many classes there are. Labels run from 0 to ``n_classes - 1``, unless the model that is
        attacked, or the training set that is poisoned, has others.
    bounds : tuple of float
        The smallest and the largest value that a pixel may have.
    class_names : tuple of str
        What the labels 0, 1, ... stand for, if they are not their own names.
    """

    image_shape: tuple[int, int, int]
    n_classes: int
    bounds: tuple[float, float] = (0.0, 1.0)
    class_names: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        given = self.image_shape
        shape = tuple(given) if isinstance(given, Sequence | np.ndarray) else ()
        if len(shape) not in (2, 3) or not all(
            isinstance(n, int | np.integer) and n >= 1 for n in shape
        ):
            raise InputError(f"image_shape has to be (height, width, channels), got {given!r}")
        height, width, channels = (*shape, 1)[:3]
        if channels > 4 and width > 4 and (height <= 4 or height < width == channels):
            raise InputError(
                f"image_shape has to be (height, width, channels); {shape} would be {height} x "
                f"{width} pixels of {channels} channels. Is it (channels, height, width)? Then it "
                f"is ({width}, {channels}, {height}) here, and images (n, channels, height, width) "
                "become rows by X.transpose(0, 2, 3, 1).reshape(len(X), -1)"
            )
        object.__setattr__(self, "image_shape", (int(height), int(width), int(channels)))
        object.__setattr__(self, "n_classes", coerce(self.n_classes, int, "n_classes"))
        at_least(2, n_classes=self.n_classes)
        try:
            low, high = (coerce(bound, float, "bounds") for bound in self.bounds)
        except (TypeError, ValueError):
            low = high = math.nan
        require(low < high, "bounds has to be (low, high)", self.bounds)
        object.__setattr__(self, "bounds", (low, high))

    @property
    def n_features(self) -> int:
        """The length of a row of X."""
        height, width, channels = self.image_shape
        return height * width * channels

    def name_of(self, label: Any) -> str:
        """Return what a label stands for."""
        known = isinstance(label, int | np.integer) and 0 <= label < len(self.class_names)
        return self.class_names[int(label)] if known else class_name(label)

    def label_of(self, name: int | str) -> int:
        """Return the label of a class, by its name or, where the names are words, its number.

        Without ``class_names`` a label is its own name, and may be any.

        Raises
        ------
        InputError
            If there is no such class.
        """
        names = self.class_names
        if not names:
            return int(name)
        if str(name) in names:
            return names.index(str(name))
        words = not any(known.isdecimal() for known in names)
        if words and str(name).isdecimal() and int(name) < len(names):
            return int(name)
        raise InputError(f"there is no class {name}; they are {listed(names)}")


def found_range(x: npt.NDArray[Any]) -> str:
    """Return for a message what values there are, with all digits that tell them from others."""
    low, high = x.min(), x.max()
    return "NaN" if np.isnan(low) else f"values from {low!s} to {high!s}"


def class_name(label: Any) -> str:
    """Return a label as text; a whole number without a decimal point."""
    return str(int(label)) if isinstance(label, float | np.floating) else str(label)


def listed(names: Sequence[str]) -> str:
    """Return the names of classes for a message: ``0 to 9``, or each.

    Examples
    --------
    >>> listed(["1", "2", "3"]), listed(["3", "8"])
    ('1 to 3', '3, 8')
    """
    if len(names) > 2 and names[0].isdecimal():
        first = int(names[0])
        if list(names) == [str(number) for number in range(first, first + len(names))]:
            return f"{first} to {names[-1]}"
    return ", ".join(names)


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


@dataclass(frozen=True)
class EvasionResult:
    """What an evasion attack found, a row per image.

    Attributes
    ----------
    x_adv : ndarray of shape (n, d)
        The adversarial images, at any distance; where there is none, the image as it came.
    is_adv : ndarray of bool, shape (n,)
        The image was classified right, and ``x_adv`` is classified other than y (or as the target),
        at any distance: an attack that searches for the least change may pass its budget.
    success : ndarray of bool, shape (n,)
        ``is_adv``, and the distance is within the budget of the attack's `Threat`.
    misclassified : ndarray of bool, shape (n,)
        The image was wrong before any attack; it comes back unchanged, and is neither.
    distances : dict of ndarray, each of shape (n,)
        By name, ``linf`` and ``l2`` and the attack's own; 0 where the image is unchanged.
    details : dict of ndarray
        What else the attack has to tell of each image.
    queries : dict of float
        Forward and backward passes, the mean over images.
    """

    x_adv: Floats
    is_adv: Mask
    success: Mask
    misclassified: Mask
    distances: dict[str, Float64]
    details: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    queries: dict[str, float] = field(default_factory=dict)

    def success_rate(self) -> float:
        """Return the share of successes within the budget among the images that were right before.

        NaN if there is no such image.
        """
        right = int((~self.misclassified).sum())
        return float(self.success.sum()) / right if right else float("nan")

    def robust_accuracy(self) -> float:
        """Return the share of all images that are right and stay so within the budget.

        NaN if there is no image.
        """
        robust = ~self.misclassified & ~self.success
        return float(robust.mean()) if len(robust) else float("nan")


@dataclass(frozen=True)
class PoisonResult:
    """A poisoned training set.

    Attributes
    ----------
    X, y : ndarray of shape (n + p, d) and (n + p,)
        The clean rows, in their order, and the poison.
    index : ndarray of int
        Which rows of X are poison.
    history : ndarray of float
        The attacker's validation loss after each step; empty if the attack does not optimise.
    trigger : ndarray of shape (d,), or None
        What has to be put on an image to call the backdoor, if there is one: pixels, NaN where the
        image stays as it is. The label that it calls is ``details["target"]``.
    details : dict
        What else the attack has to tell (numbers and short texts).
    origin : ndarray of int, shape (p,), or None
        The training rows that the poison started as: their labels are its true ones.
    """

    X: Floats
    y: Labels
    index: npt.NDArray[np.intp]
    history: Float64
    trigger: Floats | None = None
    details: dict[str, Any] = field(default_factory=dict)
    origin: npt.NDArray[np.intp] | None = None


@dataclass(frozen=True)
class PoisonEvaluation:
    """What a poisoned model makes of test images, a row per image.

    Attributes
    ----------
    predicted : ndarray of shape (n,)
        The labels of the images as they are.
    survives : ndarray of bool, shape (n,)
        What the accuracy under attack counts: the image is right, and no trigger gets what it is
        after.
    triggered : ndarray of shape (n,), or None
        The labels of the images with the trigger on, if there is one.
    success_rate : float or None
        The share of triggered images of other classes that get the label that the trigger calls;
        None without a trigger, or such an image.
    """

    predicted: npt.NDArray[Any]
    survives: Mask
    triggered: npt.NDArray[Any] | None = None
    success_rate: float | None = None


@dataclass(frozen=True)
class Certificate:
    """What is proven of each image.

    Attributes
    ----------
    label : ndarray of int64, shape (n,)
        What the defended model says; -1 where it abstains.
    radius : ndarray of float64, shape (n,)
        It says the same of every image at a distance of at most this, or, against poisoning, after
        at most so many changes of the training set; 0 where nothing is proven.
    threat : str
        The kind of the distance: ``linf``, ``l2``, ``points``.
    """

    label: Labels
    radius: Float64
    threat: str


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
    """An attack on the training set: a frozen dataclass whose fields are its hyper-parameters."""

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
