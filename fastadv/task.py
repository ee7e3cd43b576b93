"""What attacks and defenses need to know of the data: the shape, range and classes of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats, Mask
from fastadv.columns import Columns
from fastadv.constraints import Ball, bring_back, movable
from fastadv.errors import InputError, at_least, require
from fastadv.specs import coerce


@dataclass(frozen=True)
class Task:
    """What attacks and defenses need to know of the data.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width, channels); a row of X is an image of this shape in C order. (height, width)
        stands for one channel. What can only be (channels, height, width) is refused.
    n_classes : int
        How many classes there are. Labels run from 0 to ``n_classes - 1``, unless the model that is
        attacked, or the training set that is poisoned, has others.
    bounds : tuple of float
        The smallest and the largest value that a pixel may have.
    class_names : tuple of str
        What the labels 0, 1, ... stand for, if they are not their own names.
    columns : Columns or None
        Of data that are no images; image_shape is (1, d, 1) then, and what needs neighbouring
        pixels is skipped.
    """

    image_shape: tuple[int, int, int]
    n_classes: int
    bounds: tuple[float, float] = (0.0, 1.0)
    class_names: tuple[str, ...] = field(default=(), compare=False, repr=False)
    columns: Columns | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        given = self.image_shape
        shape = tuple(given) if isinstance(given, Sequence | np.ndarray) else ()
        if len(shape) not in (2, 3) or not all(
            isinstance(n, int | np.integer) and n >= 1 for n in shape
        ):
            raise InputError(f"image_shape has to be (height, width, channels), got {given!r}")
        height, width, channels = (*shape, 1)[:3]
        if channels > 4 and width > 4 and (height <= 4 or height < width == channels):
            raise InputError(
                f"image_shape has to be (height, width, channels); {shape} would be {height} x "
                f"{width} pixels of {channels} channels. Is it (channels, height, width)? Then it "
                f"is ({width}, {channels}, {height}) here, and images (n, channels, height, width) "
                "become rows by X.transpose(0, 2, 3, 1).reshape(len(X), -1)"
            )
        object.__setattr__(self, "image_shape", (int(height), int(width), int(channels)))
        object.__setattr__(self, "n_classes", coerce(self.n_classes, int, "n_classes"))
        at_least(2, n_classes=self.n_classes)
        try:
            low, high = (coerce(bound, float, "bounds") for bound in self.bounds)
        except (TypeError, ValueError):
            low = high = math.nan
        require(low < high, "bounds has to be (low, high)", self.bounds)
        object.__setattr__(self, "bounds", (low, high))
        if self.columns is not None and self.image_shape != (1, len(self.columns.names), 1):
            n = len(self.columns.names)
            raise InputError(f"{n} columns have image_shape=(1, {n}, 1), got {self.image_shape}")

    @property
    def n_features(self) -> int:
        """The length of a row of X."""
        height, width, channels = self.image_shape
        return height * width * channels

    @property
    def rules(self) -> Columns | None:
        """The columns, if not every row within the bounds can exist; see `fastadv.constraints`."""
        return self.columns if self.columns is not None and self.columns.bound else None

    def brought_back(
        self, x: Floats, x_adv: Floats, norm: str = "linf", eps: float | None = None
    ) -> Floats:
        """Return ``x_adv`` (n, d) as rows that can exist, in the ball of ``norm`` around ``x``.

        Where every row within the bounds can, it is ``x_adv`` itself. ``eps`` None is no ball.
        """
        rules = self.rules
        return x_adv if rules is None else bring_back(rules, x, x_adv, Ball(norm, eps))

    def n_impossible(self, x: Floats, x_adv: Floats) -> int:
        """Return how many rows of ``x_adv`` (n, d), which were made of ``x``, cannot exist."""
        if self.rules is None:
            return 0
        return int((self.brought_back(x, x_adv) != x_adv).any(axis=1).sum())

    def movable(self, norm: str = "linf", eps: float | None = None) -> Mask | None:
        """Return which columns can change within a ball, (d,); None where all can."""
        rules = self.rules
        free = None if rules is None else movable(rules, Ball(norm, eps))
        return None if free is None or free.all() else free

    def name_of(self, label: Any) -> str:
        """Return what a label stands for."""
        known = isinstance(label, int | np.integer) and 0 <= label < len(self.class_names)
        return self.class_names[int(label)] if known else class_name(label)

    def label_of(self, name: int | str) -> int:
        """Return the label of a class, by its name or, where the names are words, its number.

        Without ``class_names`` a label is its own name, and may be any.

        Raises
        ------
        InputError
            If there is no such class.
        """
        names = self.class_names
        if not names:
            return int(name)
        if str(name) in names:
            return names.index(str(name))
        words = not any(known.isdecimal() for known in names)
        if words and str(name).isdecimal() and int(name) < len(names):
            return int(name)
        raise InputError(f"there is no class {name}; they are {listed(names)}")


def found_range(x: npt.NDArray[Any]) -> str:
    """Return for a message what values there are, with all digits that tell them from others."""
    low, high = x.min(), x.max()
    return "NaN" if np.isnan(low) else f"values from {low!s} to {high!s}"


def class_name(label: Any) -> str:
    """Return a label as text; a whole number without a decimal point."""
    return str(int(label)) if isinstance(label, float | np.floating) else str(label)


def listed(names: Sequence[str]) -> str:
    """Return the names of classes for a message: ``0 to 9``, or each.

    Examples
    --------
    >>> listed(["1", "2", "3"]), listed(["3", "8"])
    ('1 to 3', '3, 8')
    """
    if len(names) > 2 and names[0].isdecimal():
        first = int(names[0])
        if list(names) == [str(number) for number in range(first, first + len(names))]:
            return f"{first} to {names[-1]}"
    return ", ".join(names)
