"""What the defenses by vote share: what their classifiers see, and the attacks that they meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fastadv import capabilities, threat
from fastadv.arrays import Float32
from fastadv.errors import at_least, require
from fastadv.models.voting import VotingModel
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threat import Threat


class Voters(Checked):
    """Base of the defenses by vote; a subclass is a frozen dataclass with fields of these names."""

    name: ClassVar[str]
    trains: ClassVar[type[VotingModel]] = VotingModel

    blur: float
    budget: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.blur <= 1000, "blur has to be from 0 to 1,000 pixels", self.blur)
        at_least(1, budget=self.budget)

    def threat(self) -> Threat:
        """Return the number of added images that the certified accuracy is stated for."""
        return threat.poison(0.0, self.budget)

    def refuses(self, attack: Any) -> str | None:
        """Return None, or why the attack cannot run against the defense: it needs a gradient."""
        if capabilities.needs_gradient(attack):
            return (
                f"{self.name} counts votes, and a count has no gradient: attack it with what needs "
                "none (square, spatial, noise, poisoning)"
            )
        return None


def classes_of(y: npt.NDArray[Any], task: Task) -> npt.NDArray[Any]:
    """Return the labels that there may be, sorted: the task's, which no poison changes.

    Those that there are, where labels are not numbered as the task's; what is then certified is
    that of poison under these labels.
    """
    present = np.unique(y)
    numbered = present.dtype.kind in "iu" and present[0] >= 0 and present[-1] < task.n_classes
    return np.arange(task.n_classes) if numbered else present


def blurring(sigma: float, task: Task) -> Callable[[Float32], Float32]:
    """Return a Gaussian blur of images (n, d), zeros outside: linear, and its own transpose.

    Classifiers that see a few dozen images each are better for it: neighbouring pixels stand for
    one another. Columns of a table do not: they are left as they are.
    """

    def blur(X: Float32) -> Float32:
        if sigma == 0 or task.columns is not None:
            return X
        images = X.reshape(-1, *task.image_shape)
        blurred = ndimage.gaussian_filter(images, sigma, mode="constant", axes=(1, 2))
        out: Float32 = blurred.reshape(X.shape).astype(np.float32, copy=False)
        return out

    return blur
