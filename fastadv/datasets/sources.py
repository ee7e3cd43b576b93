"""What a loader returns: the images and labels of the three parts, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Labels
from fastadv.datasets.dataset import PARTS, hash_arrays
from fastadv.datasets.layout import Channels, channels_last, white_of
from fastadv.errors import InputError
from fastadv.seeds import generator

Rows = npt.NDArray[np.intp]

KEYS = ("x_train", "y_train", "x_test", "y_test")  # x_val and y_val may be there, too

_MOST_CLASSES = 100  # that need not have two images each
HELD_OUT = 12  # one training image in so many is held out: 5,000 of MNIST's 60,000


class Part(NamedTuple):
    """Images as the source has them, and their labels.

    Attributes
    ----------
    images : ndarray of shape (n, H, W, C)
        Of bytes or floats, from 0 to ``white``.
    labels : ndarray of int64, shape (n,)
    white : float
    """

    images: npt.NDArray[Any]
    labels: Labels
    white: float

    def take(self, rows: Rows) -> Part:
        """Return some of the rows."""
        return self._replace(images=self.images[rows], labels=self.labels[rows])


class Source(NamedTuple):
    """All three parts.

    Attributes
    ----------
    parts : dict of Part
        ``train``, ``val`` and ``test``.
    hash : str
        Of the data.
    notes : tuple of str
        What was made of the data as they were read, in a line each.
    bounds : tuple of float
        The smallest and the largest value of a pixel, as a share of white.
    class_names : tuple of str
        What the labels 0, 1, ... stand for, if they are not their own names.
    """

    parts: dict[str, Part]
    hash: str
    notes: tuple[str, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        where: str,
        *,
        channels: Channels | None = None,
        white: float | None = None,
        known_hash: str = "",
    ) -> Source:
        """Check arrays as a loader has them; without x_val hold out one training row in twelve.

        Parameters
        ----------
        arrays : mapping of ndarray
            ``x_train, y_train, x_test, y_test`` and, if they are there, ``x_val, y_val``: images
            (n, H, W), (n, H, W, C) or (n, C, H, W), and whole numbers from 0 on.
        where : str
            What the errors name.
        channels : {"first", "last"} or None
            None tells by the shape.
        white : float or None
            The value that stands for 1; None is 255 of bytes and 1 of floats.
        known_hash : str
            A hash of what the arrays were made of, to save hashing them.

        Raises
        ------
        InputError
            If one is not of that form.
        """
        parts, turned = {}, {}
        for part in (part for part in PARTS if f"x_{part}" in arrays):
            images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
            parts[part], was_first = _check_part(
                images, labels, f"{where}: {part}", channels, white
            )
            if was_first:
                turned[part] = images.shape
        _check_together(parts, where)
        notes = _notes(parts["train"], turned if channels is None else {}, white)
        source_hash = known_hash or hash_arrays(arrays)
        return cls(parts if "val" in parts else _hold_out(parts, where), source_hash, notes)


def _notes(
    train: Part, turned: dict[str, tuple[int, ...]], stated: float | None
) -> tuple[str, ...]:
    """Return what was taken for granted of the images: which were turned, and what is white."""
    notes = []
    if turned:
        height, width, channels = train.images.shape[1:]
        found = ", ".join(f"{part} {shape}" for part, shape in turned.items())
        notes.append(
            f"{found} read as channels first: {height} x {width} pixels, {channels} "
            f"{'channel' if channels == 1 else 'channels'}"
        )
    white, brightest = train.white, train.images.max()
    if stated is None and brightest < white / 2:
        notes.append(
            f"no pixel is above {brightest / white:.2g} of white; if {brightest} is white, state "
            f"it in brackets: range={brightest}"
        )
    return tuple(notes)


def _check_part(
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    where: str,
    channels: Channels | None,
    white: float | None,
) -> tuple[Part, bool]:
    """Return a part, and whether its channels were first."""
    name = f"{where} images"
    if images.ndim not in (3, 4) or images.size == 0:
        form = "shape (n, H, W) or (n, H, W, C)" if images.ndim not in (3, 4) else "some images"
        raise InputError(f"{name}: found {images.shape}, expected {form}")
    white = white_of(images, white, name)
    turned, was_first = channels_last(images, channels, name)
    return Part(turned, _check_labels(labels, len(images), f"{where} labels"), white), was_first


def _check_labels(labels: npt.NDArray[Any], n_images: int, where: str) -> Labels:
    if labels.ndim != 1 or len(labels) != n_images:
        raise InputError(f"{where}: found shape {labels.shape}, expected ({n_images},) as images")
    if labels.dtype.kind not in "iuf":
        raise InputError(f"{where}: found dtype {labels.dtype}, expected whole numbers from 0 on")
    # The upper bound keeps the conversion to int64 exact; NaN fails every comparison.
    right = (labels >= 0) & (labels < 2**31) & (labels == np.floor(labels))
    if not right.all():
        raise InputError(f"{where}: found {labels[~right][0]:g}, expected whole numbers from 0 on")
    return labels.astype(np.int64)


def _check_together(parts: dict[str, Part], where: str) -> None:
    shapes = {name: part.images.shape[1:] for name, part in parts.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {'x'.join(map(str, s))}" for name, s in shapes.items())
        raise InputError(f"{where}: found images of {found}, expected one shape (HxWxC) throughout")
    n_train, n_classes = len(parts["train"].labels), len(np.unique(parts["train"].labels))
    if n_classes < 2:
        raise InputError(f"{where}: found one class of training images, expected two or more")
    if n_classes > max(_MOST_CLASSES, n_train // 2):
        found = f"found {n_classes:,} different labels of {n_train:,} training images"
        raise InputError(f"{where}: {found}, expected classes")


def stratified(
    labels: Labels, size: int, rng: np.random.Generator, *, at_least: int = 0, leave: int = 0
) -> Rows:
    """Draw rows in the proportions of the classes, by the largest remainder.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    size : int
        How many to draw, at most n.
    rng : Generator
    at_least, leave : {0, 1}
        How many of each class that there is to draw, and to leave; ``size`` has to allow for it.

    Returns
    -------
    ndarray of int, shape (size,)
        In ascending order.
    """
    _, columns, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quota, remainder = np.divmod(counts * size, len(labels))
    # A stable sort gives a tie to the lower label, on any platform.
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    for column in np.flatnonzero(quota < at_least):
        quota[np.argmax(quota)] -= 1
        quota[column] += 1
    for column in np.flatnonzero(counts - quota < leave):
        quota[column] -= 1
        quota[np.argmax(counts - quota)] += 1
    rows = [
        rng.permutation(np.flatnonzero(columns == column))[:number]
        for column, number in enumerate(quota)
    ]
    return np.sort(np.concatenate(rows))


def _hold_out(parts: dict[str, Part], where: str) -> dict[str, Part]:
    train = parts["train"]
    n_train, n_classes = len(train.labels), len(np.unique(train.labels))
    size = n_train // HELD_OUT
    if not 0 < size <= n_train - n_classes:
        fault = f"found {n_train} training images of {n_classes} classes and none for validation"
        raise InputError(f"{where}: {fault}, expected {HELD_OUT} or more, or x_val and y_val")
    # The last image of a class stays: without it there would be nothing to learn the class from.
    rows = stratified(train.labels, size, generator(0, "validation split"), leave=1)
    stays = np.delete(np.arange(n_train), rows)
    return {"train": train.take(stays), "val": train.take(rows), "test": parts["test"]}
