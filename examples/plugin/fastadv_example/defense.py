"""A defense that cleans the training set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import Task
from fastadv.arrays import Floats, Labels, Mask
from fastadv.errors import at_least
from fastadv.specs import Checked


@dataclass(frozen=True)
class Contradictions(Checked):
    """Without training images that stand there under several labels.

    Parameters
    ----------
    labels : int
        How many labels an image may have.
    """

    labels: int = 1

    name: ClassVar[str] = "contradictions"
    reference: ClassVar[str] = "an example"

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        at_least(1, labels=self.labels)

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Return which rows to keep, (n,), and the labels to train on, (n,)."""
        images = [row.tobytes() for row in X]
        labels = defaultdict(set)
        for image, label in zip(images, y, strict=True):
            labels[image].add(label)
        return np.array([len(labels[image]) <= self.labels for image in images]), y
