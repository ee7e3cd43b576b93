"""Datasets by name or by path, as a whole or narrowed: ``mnist[classes=7-1,train=100,val=500]``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.datasets.sources import PARTS, Part, hash_arrays, read_source, stratified
from fastadv.errors import InputError
from fastadv.protocols import Float32, Labels, Task
from fastadv.seeds import generator
from fastadv.specs import Spec, format_spec, resolve

ARRAYS = tuple(f"{letter}_{part}" for part in PARTS for letter in "xy")

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
            object.__setattr__(self, "fingerprint", hash_arrays(arrays))


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
    parts, source_hash = read_source(parsed.name)

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


def _keep_classes(
    parts: dict[str, Part], classes: tuple[int, ...], n_classes: int, owner: str
) -> dict[str, Part]:
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
        kept[name] = Part(part.images[rows], labels[rows])
    return kept


def _check_trained_on(parts: dict[str, Part], class_names: tuple[str, ...], owner: str) -> None:
    """Raise InputError for a label that a model could not have learnt."""
    known = np.unique(parts["train"].labels)
    for name, part in parts.items():
        strange = np.setdiff1d(part.labels, known)
        if len(strange):
            label = class_names[strange[0]]
            raise InputError(f"{owner}: there is no train image of class {label}, but {name} ones")


def _draw_subsets(parts: dict[str, Part], narrowing: dict[str, Any], owner: str) -> dict[str, Part]:
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
