"""Checks of what a caller hands to an attack: one line that says what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats
from fastadv.errors import InputError
from fastadv.task import Task, found_range


def images(X: npt.ArrayLike, task: Task, name: str = "X") -> Floats:
    """Return X as a float array (n, d) that fits the task, in C order and writeable.

    Kernels would be compiled anew for arrays of another form.

    Raises
    ------
    InputError
        If the shape is another, or a value is NaN or outside the bounds.
    """
    array = np.asarray(X)
    if array.ndim != 2 or array.shape[1] != task.n_features:
        raise InputError(
            f"{name} has shape {array.shape}; images of {task.image_shape} are rows of "
            f"{task.n_features}, shape (n, {task.n_features})"
        )
    if array.dtype.kind != "f":
        raise InputError(f"{name} is of {array.dtype}; images are floats in {task.bounds}")
    low, high = task.bounds
    if array.size and not (array.min() >= low and array.max() <= high):  # false for NaN too
        raise InputError(
            f"{name} holds NaN or values outside [{low:g}, {high:g}]: {found_range(array)}"
        )
    return np.require(array, requirements=["C", "A", "W"])


def labels(y: npt.ArrayLike, n: int, name: str = "y") -> npt.NDArray[Any]:
    """Return y as an array (n,); which labels there may be is for the model to say.

    Raises
    ------
    InputError
        If it is of another shape.
    """
    array: npt.NDArray[Any] = np.asarray(y)
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}; {n} images have {n} labels")
    return array


def no_such_class(task: Task, *names: int | str) -> str | None:
    """Return None, or that the task has not all classes of these names."""
    try:
        for name in names:
            task.label_of(name)
    except InputError as error:
        return str(error)
    return None
