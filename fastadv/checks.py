"""Checks of the arrays that a caller hands over: one line that says what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats, Labels
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
    array = _array(X, name)
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
    """Return y as an array (n,) of whole numbers or texts; which there may be the model says.

    Raises
    ------
    InputError
        If it is of another shape or kind.
    """
    array = _array(y, name)
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}; {n} images have {n} labels")
    if array.dtype.hasobject:  # as columns of pandas are, also of numbers
        kinds = {type(label) for label in array.tolist()}
        if kinds <= {str} or kinds <= {int, float, bool}:
            array = np.array(array.tolist())
    if array.dtype.kind not in "biufU":
        raise InputError(f"{name} is of {array.dtype}; labels are whole numbers, or texts")
    strange = array[array != np.floor(array)] if array.dtype.kind == "f" else array[:0]
    if len(strange):  # NaN too
        raise InputError(f"{name} holds {strange[0]}; labels are whole numbers, or texts")
    return array


def training_set(X: npt.ArrayLike, y: npt.ArrayLike, task: Task) -> tuple[Floats, Labels]:
    """Return `images` X, at least one, and as many `labels` y."""
    X = images(X, task)
    if len(X) == 0:
        raise InputError("X holds no images to train on")
    return X, labels(y, len(X))


def rows(X: npt.ArrayLike, width: int) -> Floats:
    """Return X as an array (n, width), what a model takes; raise InputError if it is none."""
    array = _array(X, "X")
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"X has shape {array.shape}; the model takes rows, shape (n, {width})")
    return array


def _array(given: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError:  # NumPy's reason tells of a sequence in a sequence
        raise InputError(f"{name} is no array: its rows differ in length") from None


def no_such_class(task: Task, *names: int | str) -> str | None:
    """Return None, or that the task has not all classes of these names."""
    try:
        for name in names:
            task.label_of(name)
    except InputError as error:
        return str(error)
    return None
