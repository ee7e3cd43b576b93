"""Biggio, Nelson and Laskov, ICML 2012, section 4.2: a linear SVM on pairs of MNIST's digits.

100 images to train on, 500 to attack by, C = 1, 10 splits; the test set is every test image of the
two digits. Of "7v1" the 7 is attacked: points start as training images of it, under the label 1.
The attack is then `biggio[points=k,labels=1]`, k points moved together; `label_flip[points=k]` adds
as many training images under the other label and leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64
from fastadv.datasets import Dataset, load_dataset
from fastadv.models.svm import SVC
from fastadv.registry import make

PAIRS = ("7-1", "9-8", "4-0")
SPLITS = 10
MOST_POINTS = 6

# Section 4.2, of all three pairs: one point takes the error from 2 to 5 % to 15 to 20 %. For more
# points the paper has curves and no numbers.
PUBLISHED = {0: "2 to 5", 1: "15 to 20"}

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pair:
    """What came of one pair of digits.

    Attributes
    ----------
    name : str
        ``7-1``: 7 is attacked, 1 the label of the points.
    error, flipped : ndarray of shape (splits, MOST_POINTS + 1)
        The test error in % with so many points, optimised or only flipped.
    start, end : ndarray of shape (28, 28)
        The first split's single point, before and after.
    """

    name: str
    error: Float64
    flipped: Float64
    start: npt.NDArray[Any]
    end: npt.NDArray[Any]

    @property
    def title(self) -> str:
        """As in the paper: 7v1."""
        return self.name.replace("-", "v")


def run(tell: Tell = lambda *_: None, splits: int = SPLITS) -> list[Pair]:
    """Run the experiment.

    Parameters
    ----------
    tell : callable
        Called as ``tell(what, done, total)`` before each split.
    splits : int
        The paper's are 10; fewer for a quick look.
    """
    out = []
    for number, name in enumerate(PAIRS):
        label = name.rpartition("-")[2]
        errors, images = np.empty((2, splits, MOST_POINTS + 1)), []
        for split in range(splits):
            tell(name.replace("-", "v"), number * splits + split, len(PAIRS) * splits)
            data = load_dataset(f"mnist[classes={name},train=100,val=500,split={split}]")
            errors[:, split, 0] = test_error(data, data.x_train, data.y_train)
            for points in range(1, MOST_POINTS + 1):
                for kind, text in enumerate(
                    (f"biggio[points={points},labels={label}]", f"label_flip[points={points}]")
                ):
                    result = make("attack", text).poison(
                        SVC(), data.x_train, data.y_train, data.x_val, data.y_val,
                        task=data.task, seed=split,
                    )  # fmt: skip
                    errors[kind, split, points] = test_error(data, result.X, result.y)
                    if kind == 0 and points == 1 and split == 0:
                        started_as = data.x_train[result.origin]
                        images = [row.reshape(28, 28) for row in (*started_as, result.X[-1])]
        out.append(Pair(name, errors[0], errors[1], *images))
    tell("", 1, 1)
    return out


def test_error(data: Dataset, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """Train on X, y and return the error on the test images in %."""
    return 100.0 * (1.0 - float(SVC().fit(X, y).score(data.x_test, data.y_test)))
