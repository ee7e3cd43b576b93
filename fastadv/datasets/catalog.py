"""Datasets by name or by path, as a whole or narrowed: ``mnist[classes=7-1,train=100,val=500]``."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv.datasets.idx import MNIST_SHA256, mnist_folder, read_idx_folder, read_mnist
from fastadv.errors import InputError
from fastadv.files import UNREADABLE
from fastadv.protocols import Float32, Labels, Task
from fastadv.seeds import generator
from fastadv.specs import Spec, closest, format_spec, resolve

Rows = npt.NDArray[np.intp]

PARTS = ("train", "val", "test")
ARRAYS = tuple(f"{letter}_{part}" for part in PARTS for letter in "xy")
HELD_OUT = 12  # one training image in so many is held out: 5,000 of MNIST's 60,000

# In the order of a dataset's canonical text.
_PARAMETERS = {"classes": tuple[int, ...], "train": int, "val": int, "test": int, "split": int}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training, for attackers and trusted data (``val``), and for testing.

    Attributes
    ----------
    name : str
        The canonical spec: `load_dataset` reads the same dataset from it.
    x_train, x_val, x_test : ndarray of float32, shape (n, d)
        An image a row, C-contiguous, in [0, 1]; n differs between the parts.
    y_train, y_val, y_test : ndarray of int64, shape (n,)
        Labels from 0 to ``task.n_classes - 1``.
    task : Task
        The shape of an image, the number of classes, and the bounds of a pixel.
    class_names : tuple of str
        What each label stands for.
    fingerprint : str
        A hash of the data (by default, of the six arrays).
    """

    name: str
    x_train: Float32 = field(repr=False)
    y_train: Labels = field(repr=False)
    x_val: Float32 = field(repr=False)
    y_val: Labels = field(repr=False)
    x_test: Float32 = field(repr=False)
    y_test: Labels = field(repr=False)
    task: Task
    class_names: tuple[str, ...]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if not self.fingerprint:
            arrays = {key: getattr(self, key) for key in ARRAYS}
            object.__setattr__(self, "fingerprint", _hash_arrays(arrays))


class _Part(NamedTuple):
    """Images as the source has them, (n, H, W, C) of bytes or floats, and int64 labels (n,)."""

    images: npt.NDArray[Any]
    labels: Labels

    def take(self, rows: Rows) -> _Part:
        return _Part(self.images[rows], self.labels[rows])


def load_dataset(spec: str | Path) -> Dataset:
    """Load a dataset.

    Parameters
    ----------
    spec : str or Path
        ``mnist``; or a folder of four IDX files, named as MNIST's are; or a ``.npz`` file with
        ``x_train, y_train, x_test, y_test`` and, if it likes, ``x_val, y_val``, where images are
        (n, H, W) or (n, H, W, C), of uint8 or of floats in [0, 1]. Where there are no ``x_val``,
        one training image in twelve is held out, stratified, always the same ones.

        Parameters in brackets narrow it. ``classes=7-1`` keeps two classes, 7 as label 0 and 1 as
        label 1. ``train``, ``val`` and ``test`` are numbers of images, drawn in the proportions
        of the classes, at least one of each; rows keep their order. ``split`` (default 0) is
        another draw from the same images.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If there is no such dataset, a file is not what it has to be, or the spec asks for more
        than there is.

    Examples
    --------
    >>> load_dataset("mnist[classes=7-1,train=100]").x_train.shape
    (100, 784)
    """
    parsed = Spec.parse(str(spec))
    given = resolve(parsed.parameters, _PARAMETERS, parsed.name)
    narrowing = {key: given[key] for key in _PARAMETERS if key in given}
    parts, source_hash = _read_source(parsed.name)

    n_classes = 1 + max(int(part.labels.max()) for part in parts.values())
    class_names = tuple(map(str, range(n_classes)))
    owner = parsed.name
    if "classes" in narrowing:
        classes = narrowing["classes"]
        owner = format_spec(parsed.name, {"classes": classes})
        parts = _keep_classes(parts, classes, n_classes, owner)
        class_names = tuple(map(str, classes))
    _check_trained_on(parts, class_names, owner)
    parts = _draw_subsets(parts, narrowing, owner)

    canonical = format_spec("", narrowing)
    fingerprint = hashlib.blake2b((source_hash + canonical).encode(), digest_size=16).hexdigest()
    arrays: dict[str, Any] = {}
    for name, part in parts.items():
        arrays[f"x_{name}"], arrays[f"y_{name}"] = _as_rows(part.images), part.labels
    return Dataset(
        name=parsed.name + canonical,
        **arrays,
        task=Task(parts["train"].images.shape[1:], n_classes=len(class_names)),
        class_names=class_names,
        fingerprint=fingerprint,
    )


def _as_rows(images: npt.NDArray[Any]) -> Float32:
    rows = images.reshape(len(images), -1)
    if images.dtype == np.uint8:
        scaled: Float32 = np.divide(rows, np.float32(255), dtype=np.float32)
        return scaled
    return np.ascontiguousarray(rows, dtype=np.float32)


def _read_source(name: str) -> tuple[dict[str, _Part], str]:
    """Return all three parts, checked, and a hash of the data."""
    path = Path(name).expanduser()
    if name == "mnist":
        path = mnist_folder()
        arrays = read_mnist()
    elif path.is_dir():
        arrays = read_idx_folder(path)
    elif path.exists():
        arrays = _read_npz(path)
    elif path.suffix or len(path.parts) > 1:
        raise InputError(f"there is no file or folder {name}")
    else:
        hint = closest(name, ["mnist"]) or "; there is mnist."
        raise InputError(
            f"no dataset {name!r}{hint} Otherwise give a folder of four IDX files or a .npz file"
        )
    parts = {
        part: _check_part(arrays[f"x_{part}"], arrays[f"y_{part}"], part, path)
        for part in PARTS
        if f"x_{part}" in arrays
    }
    _check_together(parts, path)
    source_hash = "".join(MNIST_SHA256.values()) if name == "mnist" else _hash_arrays(arrays)
    if "val" not in parts:
        parts = _hold_out(parts, path)
    return parts, source_hash


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


def _hash_arrays(arrays: dict[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key, array in arrays.items():
        digest.update(f"{key} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _check_part(images: npt.NDArray[Any], labels: npt.NDArray[Any], part: str, path: Path) -> _Part:
    where = f"{path}: {part} images"
    if images.ndim not in (3, 4) or images.size == 0:
        form = "shape (n, H, W) or (n, H, W, C)" if images.ndim not in (3, 4) else "some images"
        raise InputError(f"{where}: found {images.shape}, expected {form}")
    if images.dtype != np.uint8:
        if images.dtype.kind != "f":
            raise InputError(f"{where}: found {images.dtype}, expected uint8 or floats in [0, 1]")
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):
            found = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g}"
            raise InputError(f"{where}: found {found}, expected floats in [0, 1]")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    return _Part(images, _check_labels(labels, len(images), part, path))


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


def _check_together(parts: dict[str, _Part], path: Path) -> None:
    shapes = {name: part.images.shape[1:] for name, part in parts.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {'x'.join(map(str, s))}" for name, s in shapes.items())
        raise InputError(f"{path}: found images of {found}, expected one shape (HxWxC) throughout")
    largest = max(int(part.labels.max()) for part in parts.values())
    n_images = sum(len(part.labels) for part in parts.values())
    if largest >= n_images:
        raise InputError(f"{path}: found label {largest} in {n_images} images, expected 0 to k-1")
    if len(np.unique(parts["train"].labels)) < 2:
        raise InputError(f"{path}: found one class of training images, expected two or more")


def stratified(labels: Labels, size: int, rng: np.random.Generator, at_least: int = 0) -> Rows:
    """Draw rows in the proportions of the classes, by the largest remainder.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    size : int
        How many to draw, at most n.
    rng : Generator
    at_least : {0, 1}
        How many of each class that there is; ``size`` has to suffice for it.

    Returns
    -------
    ndarray of int, shape (size,)
        In ascending order.
    """
    counts = np.bincount(labels)
    quota, remainder = np.divmod(counts * size, len(labels))
    # A stable sort gives a tie to the lower label, on any platform.
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    for label in np.flatnonzero((quota < at_least) & (counts > 0)):
        quota[np.argmax(quota)] -= 1
        quota[label] += 1
    rows = [
        rng.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in enumerate(quota)
    ]
    return np.sort(np.concatenate(rows))


def _hold_out(parts: dict[str, _Part], path: Path) -> dict[str, _Part]:
    train = parts["train"]
    n_train = len(train.labels)
    if n_train < HELD_OUT:
        fault = f"found {n_train} training images and none for validation"
        raise InputError(f"{path}: {fault}, expected {HELD_OUT} or more, or x_val and y_val")
    rows = stratified(train.labels, n_train // HELD_OUT, generator(0, "validation split"))
    stays = np.delete(np.arange(n_train), rows)
    return {"train": train.take(stays), "val": train.take(rows), "test": parts["test"]}


def _keep_classes(
    parts: dict[str, _Part], classes: tuple[int, ...], n_classes: int, owner: str
) -> dict[str, _Part]:
    there_are = f"the classes are 0 to {n_classes - 1}"
    unknown = [label for label in classes if not 0 <= label < n_classes]
    if unknown:
        raise InputError(f"{owner}: there is no class {unknown[0]}; {there_are}")
    if len(set(classes)) < len(classes):
        raise InputError(f"{owner}: a class is repeated, expected each once; {there_are}")
    if len(classes) < 2:
        raise InputError(f"{owner}: expected two classes or more, such as 7-1; {there_are}")
    new_label = np.full(n_classes, -1, dtype=np.int64)
    new_label[list(classes)] = np.arange(len(classes))
    kept = {}
    for name, part in parts.items():
        counts = np.bincount(part.labels, minlength=n_classes)
        absent = [label for label in classes if counts[label] == 0]
        if absent and (name == "train" or len(absent) == len(classes)):
            raise InputError(f"{owner}: there is no {name} image of class {absent[0]}")
        labels = new_label[part.labels]
        rows = np.flatnonzero(labels >= 0)
        kept[name] = _Part(part.images[rows], labels[rows])
    return kept


def _check_trained_on(parts: dict[str, _Part], class_names: tuple[str, ...], owner: str) -> None:
    """Raise InputError for a label that a model could not have learnt."""
    known = np.unique(parts["train"].labels)
    for name, part in parts.items():
        strange = np.setdiff1d(part.labels, known)
        if len(strange):
            label = class_names[strange[0]]
            raise InputError(f"{owner}: there is no train image of class {label}, but {name} ones")


def _draw_subsets(
    parts: dict[str, _Part], narrowing: dict[str, Any], owner: str
) -> dict[str, _Part]:
    split = narrowing.get("split", 0)
    if split < 0:
        raise InputError(f"{owner}: split={split}, but it has to be 0 or more")
    drawn = dict(parts)
    for name in (name for name in PARTS if name in narrowing):
        part, size = parts[name], narrowing[name]
        lowest, available = len(np.unique(part.labels)), len(part.labels)
        if not lowest <= size <= available:
            bounds = f"{lowest} (one image a class) to {available} (all there are)"
            raise InputError(f"{owner}: {name}={size}, but it has to be from {bounds}")
        rng = generator(split, f"{name} subset")  # its own, so that no part moves another's draw
        drawn[name] = part.take(stratified(part.labels, size, rng, at_least=1))
    return drawn


@dataclass(frozen=True)
class _Rest:
    """What of a dataset is not an array."""

    name: str
    task: Task
    class_names: tuple[str, ...]
    fingerprint: str


def share(dataset: Dataset, folder: str | Path) -> None:
    """Write a dataset to a folder, for `open_shared` in other processes.

    Parameters
    ----------
    dataset : Dataset
    folder : str or Path
        Made if it is not there; MNIST takes 220 MB.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for key in ARRAYS:
        np.save(folder / f"{key}.npy", getattr(dataset, key), allow_pickle=False)
    rest = _Rest(dataset.name, dataset.task, dataset.class_names, dataset.fingerprint)
    (folder / "dataset.json").write_bytes(msgspec.json.encode(rest))


def open_shared(folder: str | Path) -> Dataset:
    """Map a dataset that `share` wrote; processes that do so hold it in memory once.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Dataset
        Its arrays are writeable (Numba would compile anew for read-only ones), but what is
        written stays in this process and never reaches the files.

    Raises
    ------
    InputError
        If the folder does not hold a shared dataset.
    """
    folder = Path(folder)
    try:
        rest = msgspec.json.decode((folder / "dataset.json").read_bytes(), type=_Rest)
        arrays: dict[str, Any] = {
            # A plain ndarray over the mapping: Numba dispatches slower on the subclass memmap.
            key: np.asarray(np.load(folder / f"{key}.npy", mmap_mode="c", allow_pickle=False))
            for key in ARRAYS
        }
    except (OSError, ValueError, EOFError, msgspec.DecodeError) as error:
        raise InputError(f"{folder}: found no shared dataset there ({error})") from None
    return Dataset(**arrays, **vars(rest))
