"""Whether the gradients of a defended model serve, seen once for all rows that attack it."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv import capabilities
from fastadv.arrays import Floats, Labels
from fastadv.attacks.evasion.probe import Probe, probe
from fastadv.grid.blocks import blocks
from fastadv.models.base import class_columns
from fastadv.protocols import Model
from fastadv.task import Task

_FLOOR_IMAGES = 100


def inspect_all(
    model: Model, X: Floats, y: Labels, rows: npt.NDArray[np.intp], task: Task
) -> Probe:
    """Look at a defended model on the rows of X, block by block; the floor is that of the first."""
    first, *others = (
        inspect(model, X[rows[part]], y[rows[part]], task, 0 if part.start else _FLOOR_IMAGES)
        for part in blocks(len(rows))
    )
    seen = [first, *others]
    return msgspec.structs.replace(
        first, n=sum(one.n for one in seen), falls=sum(one.falls for one in seen),
        zero_gradients=sum(one.zero_gradients for one in seen),
        randomised=any(one.randomised for one in seen),
    )  # fmt: skip


def inspect(model: Model, X: Floats, y: Labels, task: Task, floor_n: int = _FLOOR_IMAGES) -> Probe:
    """Look at a defended model, as attacks meet it, on test images X (n, d) of labels y (n,)."""
    first, again = model.logits(X), model.logits(X)
    randomised = capabilities.randomised(model) or not np.array_equal(first, again)
    if not capabilities.differentiable(model):
        return Probe(len(X), randomised=randomised)
    seen = probe(model, X, class_columns(model, y), task, floor_n)
    return msgspec.structs.replace(seen, randomised=randomised)
