"""A model that came trained, for the data of a grid, and what a grid says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from fastadv import capabilities
from fastadv.arrays import Labels
from fastadv.datasets import Dataset
from fastadv.errors import InputError, require
from fastadv.grid.row import REFIT, Flag
from fastadv.models.wrapping import look_at, named, wrap
from fastadv.task import class_name, listed

_FEW = 64  # test images that a model is looked at by


def given_for(model: Any, data: Dataset, name: str | None = None) -> Any:
    """Return a trained model wrapped for a data set, with its labels as classes.

    Raises
    ------
    InputError
        If it cannot be wrapped, or does not fit the images or the classes.
    """
    shape = data.task.image_shape
    if capabilities.given(model) is None:
        model = wrap(model, name=name, image_shape=shape, images=data.x_test[:_FEW])
    given = capabilities.given(model)
    if given.image_shape not in (None, shape):
        raise InputError(
            f"{given.name} is declared to take images of {given.image_shape}; those of {data.name} "
            f"are of {shape}"
        )
    if given.n_features not in (None, data.task.n_features):
        raise InputError(
            f"{given.name} takes {given.n_features:,} numbers an image; those of {data.name} have "
            f"{data.task.n_features:,} ({' x '.join(map(str, shape))})"
        )
    require(
        not given.ranged or data.task.bounds == (0.0, 1.0),
        f"input_range is told of images in [0, 1]; for {data.name} give mean and std in its units",
        data.task.bounds,
    )
    look_at(model, data.x_test[:_FEW])
    return named(model, columns(model.classes_, given.name, data))


def untrained(model: Any, seed: int) -> Any:
    """Return a clone of a given model untrained, all its draws by this seed.

    Raises
    ------
    InputError
        If it cannot be trained.
    """
    reason = untrainable(model)
    if reason:
        raise InputError(reason)
    made = clone(capabilities.given(model).untrained)
    draws = [name for name in made.get_params() if name.endswith("random_state")]
    return made.set_params(**dict.fromkeys(draws, seed))


def untrainable(model: Any) -> str | None:
    """Return None, or why a given model cannot be trained."""
    given = capabilities.given(model)
    if given.untrained is not None:
        return None
    return f"{given.name} is given as it is: {given.why_not}"


def columns(classes: npt.NDArray[Any], name: str, data: Dataset) -> Labels:
    """Return the label in the data of each class of a model: by its name there, or its number.

    Raises
    ------
    InputError
        If these are not the classes of the data.
    """
    own = [class_name(int(c) if isinstance(c, bool | np.bool_) else c) for c in classes]
    numbers = [str(i) for i in range(len(data.class_names))]
    for names in (list(data.class_names), numbers):
        if sorted(own) == sorted(names):
            return np.array([names.index(one) for one in own], dtype=np.int64)
    raise InputError(
        f"{name} tells {len(own)} classes apart ({listed(own)}), {data.name} has "
        f"{len(numbers)} ({listed(data.class_names)})"
    )


def notes(given: Any, refit: bool, defense: Any) -> list[Flag]:
    """Return what a row has to say of a given model, or of what was trained in its place.

    Parameters
    ----------
    refit : bool
        The row is not of the model as it is.
    defense : object
        Whose `trains` says that it trains no clones, but models of its own.
    """
    if refit:
        own = capabilities.trained_class(defense) is not None
        what = f"what {defense.name} trains" if own else f"clones of {given.name}"
        return [Flag(REFIT, f"measured on {what}, trained here, and not on {given.name} as it is")]
    out = []
    if given.how != "taken over" and "gradient" not in given.how and given.how != "autograd":
        out.append(Flag("black_box", f"{given.name} is a black box, met by {given.how}"))
    if given.probabilities:
        out.append(
            Flag(
                "probabilities",
                f"{given.name} returns probabilities: its gradient is lost where they are 0 or 1",
                "give its logits",
            )
        )
    return out
