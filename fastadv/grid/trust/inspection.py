"""Whether the gradients of a defended model serve, seen once for all rows that attack it."""

from __future__ import annotations

import msgspec
import numpy as np

from fastadv import capabilities
from fastadv.arrays import Floats, Labels
from fastadv.attacks.evasion.probe import Probe, probe
from fastadv.models.base import class_columns
from fastadv.protocols import Model
from fastadv.task import Task

_FLOOR_IMAGES = 100


def inspect(model: Model, X: Floats, y: Labels, task: Task) -> Probe:
    """Look at a defended model, as attacks meet it, on test images X (n, d) of labels y (n,)."""
    first, again = model.logits(X), model.logits(X)
    randomised = capabilities.randomised(model) or not np.array_equal(first, again)
    if not capabilities.differentiable(model):
        return Probe(len(X), randomised=randomised)
    seen = probe(model, X, class_columns(model, y), task, _FLOOR_IMAGES)
    return msgspec.structs.replace(seen, randomised=randomised)
