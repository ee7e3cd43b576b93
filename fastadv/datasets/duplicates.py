"""Images that are in two parts of a dataset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastadv.datasets.dataset import Dataset
from fastadv.seeds import sample_ids


class Duplicates(NamedTuple):
    """How many images of a part are training images as well.

    Attributes
    ----------
    n : int
    n_other_label : int
        Of these, those that no training image has under the same label.
    """

    n: int
    n_other_label: int


def duplicates(dataset: Dataset, part: str) -> Duplicates:
    """Count the images of ``part`` (val or test) that are training images, to the last bit."""
    train = sample_ids(dataset.x_train)
    x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
    ids = sample_ids(x) if len(x) else train[:0]
    known = np.isin(ids, train)
    labels: dict[int, set[int]] = {}
    for place in np.flatnonzero(np.isin(train, ids[known])):
        labels.setdefault(int(train[place]), set()).add(int(dataset.y_train[place]))
    other = sum(int(y[row]) not in labels[int(ids[row])] for row in np.flatnonzero(known))
    return Duplicates(int(np.count_nonzero(known)), other)
