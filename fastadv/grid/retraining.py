"""Models that no file can keep: they stay in memory, and are trained again where they are not.

A black box of scikit-learn is an object, which only a pickle would hold, and none is ever read.
What is kept of its training is the set that it was trained on, as far as that is not the data's,
and the hash of what came of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from fastadv.arrays import Arrays, Floats, Labels
from fastadv.datasets import Dataset
from fastadv.errors import InputError
from fastadv.models.adapters.identity import identity

_MOST = 16  # models in memory
_models: OrderedDict[str, Any] = OrderedDict()


def recipe(model: Any, kept: Floats, labels: Labels, poison: Arrays | None) -> Arrays:
    """Return what tells how a model was trained, and keep it in memory.

    Parameters
    ----------
    kept : ndarray of int
        The rows of the poisoned set that it was trained on, under ``labels``.
    poison : dict of ndarray, or None
        The arrays of a `fastadv.grid.stages.training.Poison`.
    """
    key = identity(model)
    _remember(key, model)
    drawn = {
        f"poison_{name}": (poison or {})[name] for name in ("index", "rows", "labels") if poison
    }
    return {"kept": kept, "y": labels, "model": np.array(int(key, 16), dtype=np.uint64), **drawn}


def again(
    arrays: Arrays,
    data: Dataset,
    poisoned: Callable[[Arrays], tuple[Floats, Labels]],
    train: Callable[[Floats, Labels], Any],
) -> Any:
    """Return the model of which `recipe` returned these arrays.

    Raises
    ------
    InputError
        If training it again gives another model.
    """
    key = f"{int(arrays['model']):016x}"
    if key not in _models:
        poison = {
            name.removeprefix("poison_"): a for name, a in arrays.items() if "poison_" in name
        }
        X = poisoned(poison)[0] if poison else data.x_train
        model = train(X[arrays["kept"]], arrays["y"])
        if identity(model) != key:
            raise InputError(
                f"{type(model).__name__} came out otherwise when it was trained again: fix its "
                "random_state"
            )
        _remember(key, model)
    return _models[key]


def _remember(key: str, model: Any) -> None:
    _models[key] = model
    _models.move_to_end(key)
    while len(_models) > _MOST:
        _models.popitem(last=False)
