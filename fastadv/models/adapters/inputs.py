"""What stands between an image of the data and what a given model takes, and its pullback.

Each step is called with images (n, ...), pulls gradients back, and folds into the first dense layer
of a network that takes what it makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Floats
from fastadv.errors import InputError, require

Layout = Literal["rows", "channels_first", "channels_last"]
LAYOUTS = ("rows", "channels_first", "channels_last")


class Step(Protocol):
    """A map of images that is affine, or only orders their numbers."""

    def __call__(self, X: Floats) -> Floats:
        """Return what it makes of X, in the float type of X."""
        ...

    def pull(self, gradient: Floats) -> Floats:
        """Return d(loss)/dX for d(loss)/d(what it makes of X)."""
        ...

    def fold(self, W: Float64, b: Float64) -> tuple[Float64, Float64]:
        """Return the layer x -> step(x) @ W + b as one: matrix and bias."""
        ...


@dataclass(frozen=True)
class Affine:
    """x * factor + offset with a factor of shape (d,), x @ factor + offset with one of (d, e)."""

    factor: Float64
    offset: Float64

    def __call__(self, X: Floats) -> Floats:
        """Return what it makes of X, (n, d) or (n, e)."""
        out = X * self.factor if self.factor.ndim < 2 else X @ self.factor
        return (out + self.offset).astype(X.dtype, copy=False)

    def pull(self, gradient: Floats) -> Floats:
        """Return d(loss)/dX."""
        back = gradient * self.factor if self.factor.ndim < 2 else gradient @ self.factor.T
        return back.astype(gradient.dtype, copy=False)

    def fold(self, W: Float64, b: Float64) -> tuple[Float64, Float64]:
        """Return the layer behind it and itself as one layer."""
        factor = self.factor * np.ones(len(W)) if self.factor.ndim < 2 else self.factor
        offset = self.offset * np.ones(len(W))
        return factor[:, np.newaxis] * W if factor.ndim < 2 else factor @ W, b + offset @ W


@dataclass(frozen=True)
class Arranged:
    """Rows as images: (n, C, H, W) or (n, H, W, C), or flat, in the order of channels first."""

    image_shape: tuple[int, int, int]
    layout: Layout
    flat: bool = False

    def __call__(self, X: Floats) -> Floats:
        """Return the images of the rows X (n, d)."""
        images = X.reshape(len(X), *self.image_shape)
        if self.layout == "channels_first":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images.reshape(len(X), -1) if self.flat else images)

    def pull(self, gradient: Floats) -> Floats:
        """Return the rows of what has the form of the images."""
        height, width, channels = self.image_shape
        n = len(gradient)
        if self.layout == "channels_first":
            gradient = gradient.reshape(n, channels, height, width).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(gradient.reshape(n, -1))

    def fold(self, W: Float64, b: Float64) -> tuple[Float64, Float64]:
        """Return the layer with its rows in the order of the data."""
        return self.pull(W.T).T, b


@dataclass(frozen=True)
class Chain:
    """One step behind the other."""

    steps: tuple[Step, ...] = ()

    def __call__(self, X: Floats) -> Floats:
        """Return what the last step makes of X."""
        for step in self.steps:
            X = step(X)
        return X

    def pull(self, gradient: Floats) -> Floats:
        """Return d(loss)/dX."""
        for step in reversed(self.steps):
            gradient = step.pull(gradient)
        return gradient

    def fold(self, W: Float64, b: Float64) -> tuple[Float64, Float64]:
        """Return the layer and all steps as one layer."""
        for step in reversed(self.steps):
            W, b = step.fold(W, b)
        return W, b


def scaling(
    image_shape: tuple[int, int, int] | None,
    mean: npt.ArrayLike | None,
    std: npt.ArrayLike | None,
    input_range: Sequence[float] | None,
) -> tuple[Step, ...]:
    """Return the step from the data's units to the model's, if it is any.

    Raises
    ------
    InputError
        If a number makes no sense, or the form of one of them.
    """
    low, high = (0.0, 1.0) if input_range is None else _numbers("input_range", input_range, (2,))
    require(low < high, "input_range has to be (low, high)", input_range)
    centre = np.zeros(()) if mean is None else _spread("mean", mean, image_shape)
    width = np.ones(()) if std is None else _spread("std", std, image_shape)
    require(bool(np.all(width > 0)), "std has to be above 0", std)
    factor, offset = (high - low) / width, (low - centre) / width
    nothing = bool(np.all(factor == 1) and np.all(offset == 0))
    return () if nothing else (Affine(np.asarray(factor), np.asarray(offset)),)


def _spread(name: str, given: npt.ArrayLike, image_shape: tuple[int, int, int] | None) -> Float64:
    """Return a number for all pixels, or one for each, (d,), in the order of a row."""
    numbers = _numbers(name, given)
    if numbers.ndim == 0 or image_shape is None:
        if numbers.ndim > 1 or 1 < numbers.size <= 4:
            raise InputError(f"{name} is a number for each channel: give image_shape=(H, W, C) too")
        return numbers
    if numbers.shape == (math.prod(image_shape),):
        return numbers
    try:
        return np.broadcast_to(numbers, image_shape).ravel()
    except ValueError:
        raise InputError(
            f"{name} has shape {numbers.shape}; images of {image_shape} (height, width, channels) "
            f"have one number, {image_shape[2]} (one a channel), or one for each pixel"
        ) from None


def _numbers(name: str, given: Any, shape: tuple[int, ...] | None = None) -> Float64:
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} has to be numbers, got {given!r}") from None
    if not np.isfinite(numbers).all() or shape not in (None, numbers.shape):
        raise InputError(
            f"{name} has to be {'finite' if shape is None else 'two'} numbers, got {given!r}"
        )
    return numbers
