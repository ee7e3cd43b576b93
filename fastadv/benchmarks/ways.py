"""Cells of models behind a preprocessor beside what more queries find; the time does not count.

The reference knows the same threat and shares no draw with the cell: Square with 5,000 queries from
another seed, and, each on all images, what transfers from the undefended model and what the smooth
stand-in leads to, where there is one. An image counts for it if any of these breaks it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastadv.attacks.evasion import without_gradient
from fastadv.attacks.evasion.without_gradient import MORE_QUERIES, Ways
from fastadv.datasets import Dataset, load_dataset
from fastadv.errors import InputError
from fastadv.experiment import new_model, test_rows
from fastadv.registry import make

TOLERANCE = 0.01  # by which a cell may be above the reference
FASHION = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist

# Defense, attack and seed, on each data set.
CASES = (
    ("bit_depth", "pgd", 0), ("bit_depth", "pgd", 1), ("bit_depth", "pgd", 2),
    ("bit_depth[bits=2]", "pgd", 0), ("bit_depth[bits=3]", "pgd", 0),
    ("bit_depth", "pgd[eps=0.3]", 0), ("bit_depth", "pgd[eps=1,norm=l2]", 0),
    ("bit_depth[bits=2]", "pgd[eps=1,norm=l2]", 0), ("bit_depth", "stadv", 0),
    ("median", "pgd", 0), ("median[size=3]", "pgd", 0), ("mean", "pgd", 0),
    ("median", "pgd[eps=1,norm=l2]", 0), ("mean", "pgd[eps=1,norm=l2]", 0),
)  # fmt: skip


class Beside(msgspec.Struct, kw_only=True):
    """One cell and the reference, as accuracies on the same images: the lower, the stronger.

    Attributes
    ----------
    cell : float
        What a grid shows.
    alone : dict
        By each part of the reference, and ``through``, the attack through the model's own
        gradient or the identity's, which is not part of it.
    together : float
        By all parts of the reference.
    """

    dataset: str
    defense: str
    attack: str
    threat: str
    seed: int
    n: int
    clean: float
    cell: float
    alone: dict[str, float]
    together: float

    @property
    def too_high(self) -> bool:
        """Whether the cell is further above the reference than we allow ourselves."""
        return self.cell - self.together > TOLERANCE + 1e-9


def beside(samples: int = 1000, only: str = "") -> Iterator[Beside]:
    """Yield each cell beside its reference.

    Parameters
    ----------
    only : str
        Only cells whose ``dataset attack / defense`` contains this.

    Raises
    ------
    InputError
        If there is none.
    """
    datasets = ["mnist", *([str(FASHION)] if FASHION.is_dir() else [])]
    chosen = [
        (dataset, *case)
        for dataset in datasets
        for case in CASES
        if only in f"{Path(dataset).name} {case[1]} / {case[0]}"
    ]
    if not chosen:
        raise InputError(f"--only {only}: the suite ways has no such cell; see {__name__}.CASES")
    for dataset, defense, attack, seed in chosen:
        yield measured(_data(dataset), defense, attack, seed, samples)


def measured(data: Dataset, defense: str, attack: str, seed: int, samples: int) -> Beside:
    """Attack some test images as a grid does, and as the reference does."""
    rows, made = test_rows(data, min(samples, len(data.x_test))), make("attack", attack)
    X, y, bare = data.x_test[rows], data.y_test[rows], _trained(data.name, seed)
    model = make("defense", defense).wrap(bare, task=data.task)
    cell = without_gradient.perturb(made, model, X, y, task=data.task, seed=seed, undefended=bare)
    reference = Ways(made, model, X, y, data.task, seed=seed + 1000, undefended=bare)
    robust = {"through": reference.through().robust}
    for way in reference.names[1:]:
        if way not in ("flips", "square"):
            robust[way] = reference.found_by(way).robust
    if "square" in reference.names:
        robust[f"square {MORE_QUERIES:,}"] = reference.square(MORE_QUERIES).robust
    parts = [mask for way, mask in robust.items() if way != "through"]
    return Beside(
        dataset=Path(data.name).name, defense=defense, attack=attack, threat=str(made.threat()),
        seed=seed, n=len(X), clean=float(np.mean(model.predict(X) == y)),
        cell=cell.robust_accuracy(), together=float(np.all(parts, axis=0).mean()),
        alone={way: float(mask.mean()) for way, mask in robust.items()},
    )  # fmt: skip


@functools.cache
def _data(name: str) -> Dataset:
    return load_dataset(name)


@functools.cache
def _trained(name: str, seed: int) -> Any:
    data = _data(name)
    return new_model("mlp", seed, data).fit(data.x_train, data.y_train)
