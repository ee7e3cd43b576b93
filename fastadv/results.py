"""What attacks and certifying defenses return, a row per image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Floats, Labels, Mask


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

    @property
    def robust(self) -> Mask:
        """Which images are right and stay so within the budget, (n,)."""
        robust: Mask = ~self.misclassified & ~self.success
        return robust

    def median_distances(self) -> dict[str, float]:
        """Return the medians over the adversarial images, at any distance; nothing of none."""
        found = self.is_adv
        known = self.distances.items() if found.any() else ()
        return {name: float(np.median(values[found])) for name, values in known}

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
        return float(self.robust.mean()) if len(self.robust) else float("nan")


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
