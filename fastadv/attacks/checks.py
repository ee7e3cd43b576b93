"""Checks of what a caller hands to an attack: one line that says what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.protocols import Floats, Labels, Task


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
            f"{name} holds NaN or values outside [{low:g}, {high:g}] "
            f"(from {array.min():g} to {array.max():g})"
        )
    return np.require(array, requirements=["C", "A", "W"])


def labels(y: npt.ArrayLike, n: int, task: Task, name: str = "y") -> Labels:
    """Return y as int64 (n,), each in 0 .. n_classes - 1.

    Raises
    ------
    InputError
        If it is not of that form.
    """
    array: npt.NDArray[Any] = np.asarray(y)
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}; {n} images have {n} labels")
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= task.n_classes:
        raise InputError(
            f"{name} has to hold whole numbers from 0 to {task.n_classes - 1}, "
            f"got {array.min()} to {array.max()} of {array.dtype}"
        )
    return array.astype(np.int64)
