"""What an attacker on the training set sees of the defense that it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats, Labels, Mask
from fastadv.protocols import Certifier, Pullback, Region, RegionSanitizer, Wrapper
from fastadv.task import Task


def filters(defense: Any) -> bool:
    """Return whether the defense changes the images that the trained model is shown.

    One that certifies asks the model many times over in place of that.
    """
    return isinstance(defense, Wrapper) and not isinstance(defense, Certifier)


def shown(defense: Any, task: Task, X: Floats) -> Floats:
    """Return what the model behind a defense is shown of X, both (n, d).

    X itself if the defense puts nothing before the model, or asks it other than once about all.
    """
    if not filters(defense):
        return X
    model = _Listener(np.arange(task.n_classes))
    defended = defense.wrap(model, task=task)
    parts = []
    for start in range(0, len(X), _CHUNK):
        part = X[start : start + _CHUNK]
        model.heard.clear()
        defended.logits(part)
        first = model.heard[0] if model.heard else part
        if first.shape != part.shape:
            return X
        parts.append(first)
    return np.concatenate(parts) if parts else X


_CHUNK = 512  # images at once, fewer than any model here cuts into several parts


class _Listener:
    """A model that keeps what it is asked about."""

    def __init__(self, classes: npt.NDArray[np.intp]) -> None:
        self.classes_ = classes
        self.heard: list[Floats] = []

    def logits(self, X: Floats) -> Floats:
        self.heard.append(np.array(X, dtype=np.float32))
        return np.zeros((len(X), len(self.classes_)), dtype=np.float32)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        return self.logits(X), lambda _: np.zeros_like(X)

    def predict(self, X: Floats) -> Any:
        return self.classes_[np.argmax(self.logits(X), axis=1)]


@dataclass(frozen=True)
class ColumnsRegion:
    """The region of a sanitizer under columns in place of labels."""

    region: Region
    classes: npt.NDArray[Any]

    def accepts(self, X: Floats, columns: Labels) -> Mask:
        """Return which rows stay, (n,)."""
        return self.region.accepts(X, self.classes[columns])

    def project(self, X: Floats, columns: Labels) -> Floats:
        """Return X (n, d) brought inside."""
        return self.region.project(X, self.classes[columns])


def region(
    defense: Any,
    train: tuple[Floats, Labels],
    val: tuple[Floats, Labels],
    classes: npt.NDArray[Any],
    task: Task,
) -> ColumnsRegion | None:
    """Return what a sanitizer accepts; None if it has no region.

    Of one that trusts the held-out images, which the attacker has, that is exact; of one that draws
    its region around what it cleans it is the region of the clean training set.
    """
    if not isinstance(defense, RegionSanitizer):
        return None
    around = val if defense.trusted else train
    return ColumnsRegion(defense.region(*around, task=task), classes)
