"""Where the images of a dataset come from: what a folder or a file holds, checked."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Labels
from fastadv.datasets.dataset import PARTS, hash_arrays
from fastadv.datasets.idx import MNIST_SHA256, mnist_folder, read_idx_folder, read_mnist
from fastadv.datasets.layout import Channels, channels_last, white_of
from fastadv.errors import InputError
from fastadv.files import UNREADABLE
from fastadv.seeds import generator
from fastadv.specs import closest

Rows = npt.NDArray[np.intp]

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
    """All three parts, checked, a hash of the data, and in a line each what was made of it."""

    parts: dict[str, Part]
    hash: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How the files are to be read, where they do not say it themselves.

    Attributes
    ----------
    channels : {"first", "last"} or None
    range : float or None
        The value of white.
    prefix : str or None
        Of the files in a folder; ``none`` for those without.
    """

    channels: Channels | None = None
    range: float | None = None
    prefix: str | None = None

    def refuse(self, name: str, *fields: str) -> None:
        """Raise InputError for one of these that is given and has no meaning there."""
        for field in fields:
            if getattr(self, field) is not None:
                raise InputError(f"{name} has no {field} to choose; leave {field}= out")


def read_source(name: str, reading: Reading) -> Source:
    """Read what a name or a path stands for.

    Raises
    ------
    InputError
        If there is no such thing, or it is not what it has to be.
    """
    path, notes = Path(name).expanduser(), []
    if name == "mnist":
        reading.refuse(name, "channels", "range", "prefix")
        path = mnist_folder()
        arrays = read_mnist()
    elif path.is_dir():
        arrays = read_idx_folder(path, reading.prefix)
    elif path.exists():
        reading.refuse(name, "prefix")
        arrays = _read_npz(path)
    elif path.suffix or len(path.parts) > 1:
        raise InputError(f"there is no file or folder {name}")
    else:
        hint = closest(name, ["mnist"]) or "; there is mnist."
        raise InputError(
            f"no dataset {name!r}{hint} Otherwise give a folder of four IDX files or a .npz file"
        )
    parts, turned = {}, {}
    for part in (part for part in PARTS if f"x_{part}" in arrays):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        parts[part], was_first = _check_part(images, labels, part, path, reading)
        if was_first:
            turned[part] = images.shape
    _check_together(parts, path)
    if turned and reading.channels is None:
        height, width, channels = parts["train"].images.shape[1:]
        found = ", ".join(f"{part} {shape}" for part, shape in turned.items())
        notes.append(
            f"{found} read as channels first: {height} x {width} pixels, {channels} "
            f"{'channel' if channels == 1 else 'channels'}"
        )
    white, brightest = parts["train"].white, parts["train"].images.max()
    if reading.range is None and brightest < white / 2:
        notes.append(
            f"no pixel is above {brightest / white:.2g} of white; if {brightest} is white, state "
            f"it in brackets: range={brightest}"
        )
    source_hash = "".join(MNIST_SHA256.values()) if name == "mnist" else hash_arrays(arrays)
    if "val" not in parts:
        parts = _hold_out(parts, path)
    return Source(parts, source_hash, tuple(notes))


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    keys = ["x_train", "y_train", "x_test", "y_test"]
    expected = f"expected a .npz file with {', '.join(keys)}"
    arrays: dict[str, npt.NDArray[Any]] = {}
    key = "the file"  # what is being read, for the errors
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise InputError(f"{path}: found a file of another kind, {expected}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                if "x_val" in archive or "y_val" in archive:
                    keys += ["x_val", "y_val"]
                missing = [key for key in keys if key not in archive]
                if missing:
                    found = ", ".join(archive.files) or "no array"
                    raise InputError(f"{path}: found {found}, expected {', '.join(missing)} too")
                for key in keys:
                    arrays[key] = np.asarray(archive[key])
    except InputError:
        raise
    except UNREADABLE as error:
        if "Object arrays" in str(error):
            found = f"a pickled object array as {key}"
            raise InputError(f"{path}: found {found}, expected plain numbers") from None
        reason = " ".join(str(error).split())  # numpy's texts may have several lines
        raise InputError(f"{path}: {key} cannot be read ({reason}), {expected}") from None
    return arrays


def _check_part(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], part: str, path: Path, reading: Reading
) -> tuple[Part, bool]:
    """Return a part, and whether its channels were first."""
    where = f"{path}: {part} images"
    if images.ndim not in (3, 4) or images.size == 0:
        form = "shape (n, H, W) or (n, H, W, C)" if images.ndim not in (3, 4) else "some images"
        raise InputError(f"{where}: found {images.shape}, expected {form}")
    white = white_of(images, reading.range, where)
    turned, was_first = channels_last(images, reading.channels, where)
    return Part(turned, _check_labels(labels, len(images), part, path), white), was_first


def _check_labels(labels: npt.NDArray[Any], n_images: int, part: str, path: Path) -> Labels:
    where = f"{path}: {part} labels"
    if labels.ndim != 1 or len(labels) != n_images:
        raise InputError(f"{where}: found shape {labels.shape}, expected ({n_images},) as images")
    if labels.dtype.kind not in "iuf":
        raise InputError(f"{where}: found dtype {labels.dtype}, expected whole numbers from 0 on")
    # The upper bound keeps the conversion to int64 exact; NaN fails every comparison.
    right = (labels >= 0) & (labels < 2**31) & (labels == np.floor(labels))
    if not right.all():
        raise InputError(f"{where}: found {labels[~right][0]:g}, expected whole numbers from 0 on")
    return labels.astype(np.int64)


def _check_together(parts: dict[str, Part], path: Path) -> None:
    shapes = {name: part.images.shape[1:] for name, part in parts.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {'x'.join(map(str, s))}" for name, s in shapes.items())
        raise InputError(f"{path}: found images of {found}, expected one shape (HxWxC) throughout")
    n_train, n_classes = len(parts["train"].labels), len(np.unique(parts["train"].labels))
    if n_classes < 2:
        raise InputError(f"{path}: found one class of training images, expected two or more")
    if n_classes > max(_MOST_CLASSES, n_train // 2):
        found = f"found {n_classes:,} different labels of {n_train:,} training images"
        raise InputError(f"{path}: {found}, expected classes")


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


def _hold_out(parts: dict[str, Part], path: Path) -> dict[str, Part]:
    train = parts["train"]
    n_train, n_classes = len(train.labels), len(np.unique(train.labels))
    size = n_train // HELD_OUT
    if not 0 < size <= n_train - n_classes:
        fault = f"found {n_train} training images of {n_classes} classes and none for validation"
        raise InputError(f"{path}: {fault}, expected {HELD_OUT} or more, or x_val and y_val")
    # The last image of a class stays: without it there would be nothing to learn the class from.
    rows = stratified(train.labels, size, generator(0, "validation split"), leave=1)
    stays = np.delete(np.arange(n_train), rows)
    return {"train": train.take(stays), "val": train.take(rows), "test": parts["test"]}
