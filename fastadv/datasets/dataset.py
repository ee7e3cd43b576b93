"""A dataset in memory: its arrays are checked and its labels numbered where it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Labels
from fastadv.columns import ColumnRules
from fastadv.datasets.layout import Channels
from fastadv.datasets.parts import PARTS, hash_arrays
from fastadv.datasets.sources import Source
from fastadv.errors import InputError
from fastadv.specs import check_name
from fastadv.task import Task, class_name, found_range, listed

ARRAYS = tuple(f"{letter}_{part}" for part in PARTS for letter in "xy")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training, for attackers and trusted data (``val``), and for testing.

    The classes are the labels of the training images, whatever they are: numbers with gaps, or
    texts. They are numbered from 0 on in their sorted order, and keep their names.

    Parameters
    ----------
    name : str
        The canonical spec: `load_dataset` reads the same dataset from it.
    x_train, x_val, x_test : ndarray of float32, shape (n, d)
        An image a row, C-contiguous, within the task's bounds; n differs between the parts. Floats
        of other precision are converted. An array that is mapped from a file and may be written to
        (``np.load(..., mmap_mode="c")``) stays mapped; one that may not is copied. That a row is an
        image is known to the task alone: d columns of another kind are an image of (1, d, 1), and
        ``task.columns`` says what they are.
    y_train, y_val, y_test : ndarray, shape (n,)
        Labels; kept as int64 from 0 to ``task.n_classes - 1``.
    task : Task
        The shape of an image and the bounds of a pixel. Its number of classes and their names are
        made those of the dataset.
    class_names : tuple of str
        What each label stands for: that of label i is ``class_names[i]`` or, where labels are no
        such numbers, they are those of the labels in their order. Without them the labels
        themselves are the names.
    notes : tuple of str
        What was done to the images as they were read, in a line each.
    known_hash : str
        A hash of what the arrays were made of, to save hashing them.

    Attributes
    ----------
    fingerprint : str
        A hash of the data (unless given, of the six arrays and the names).

    Raises
    ------
    InputError
        If an array is not of that form, or an image is of a class without training images.
    """

    name: str
    x_train: Float32 = field(repr=False)
    y_train: Labels = field(repr=False)
    x_val: Float32 = field(repr=False)
    y_val: Labels = field(repr=False)
    x_test: Float32 = field(repr=False)
    y_test: Labels = field(repr=False)
    task: Task
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str = field(init=False)
    known_hash: InitVar[str] = ""

    def __post_init__(self, known_hash: str) -> None:
        made: dict[str, Any] = {}
        labels = {}
        check_name(self.name)
        for part in PARTS:
            made[f"x_{part}"] = self._images(part)
            labels[part] = self._labels(part, len(made[f"x_{part}"]))
        classes = np.unique(labels["train"])
        if len(classes) < 2:
            raise InputError(f"{self.name}: found one class of training images, expected more")
        names = self._names(classes)
        for part, y in labels.items():
            made[f"y_{part}"] = self._numbered(part, y, classes, names)
        made["class_names"] = names
        made["task"] = replace(self.task, n_classes=len(names), class_names=names)
        if known_hash:
            made["fingerprint"] = known_hash
        else:
            text = np.frombuffer("\x1f".join(names).encode(), dtype=np.uint8)
            rules = self.task.columns.ruled() if self.task.columns is not None else {}
            arrays = {key: made[key] for key in ARRAYS}
            made["fingerprint"] = hash_arrays(arrays | {"names": text} | rules)
        for key, value in made.items():
            object.__setattr__(self, key, value)

    @classmethod
    def from_arrays(
        cls,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        x_test: npt.ArrayLike | None = None,
        y_test: npt.ArrayLike | None = None,
        x_val: npt.ArrayLike | None = None,
        y_val: npt.ArrayLike | None = None,
        name: str = "arrays",
        class_names: Sequence[str] = (),
        columns: Sequence[str] | ColumnRules = (),
        channels: Channels | None = None,
        white: float | None = None,
    ) -> Dataset:
        """Make a dataset of arrays of images, or of columns.

        Parameters
        ----------
        x, x_test, x_val : array-like of shape (n, H, W), (n, H, W, C), (n, C, H, W) or (n, d)
            Images, of bytes or of floats in [0, 1]; or d columns of numbers, each of which is
            scaled to [0, 1] by its range over the training rows. Without ``x_test`` one row in five
            is drawn for tests; then, without ``x_val``, one in twelve of the others for validation:
            in the proportions of the classes, always the same ones. ``notes`` says so.
        y, y_test, y_val : array-like of shape (n,)
            Whole numbers from 0 on, or texts.
        name : str
            What results call it.
        class_names : sequence of str
            What the labels 0, 1, ... stand for, if they are not their own names, nor texts.
        columns : sequence of str or ColumnRules
            The names of columns, such as those of a data frame; 1, 2, ... unless given. Or that and
            what they may be: fixed, whole numbers, one-hot groups, their ranges.
        channels : {"first", "last"} or None
            None tells by the shape.
        white : float or None
            The value that stands for 1 in images; None is 255 of bytes and 1 of floats.

        Returns
        -------
        Dataset

        Raises
        ------
        InputError
            If an array is not of that form.

        Examples
        --------
        >>> images = np.random.default_rng(0).random((60, 8, 8))
        >>> data = Dataset.from_arrays(images, ["cat", "dog"] * 30)
        >>> data.x_train.shape, data.x_val.shape, data.x_test.shape, data.class_names
        ((44, 64), (4, 64), (12, 64), ('cat', 'dog'))
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        for part, images, labels in (
            ("train", x, y), ("val", x_val, y_val), ("test", x_test, y_test),
        ):  # fmt: skip
            if (images is None) != (labels is None):
                raise InputError(f"{name}: give both x_{part} and y_{part}, or neither")
            if images is not None and labels is not None:
                arrays[f"x_{part}"], arrays[f"y_{part}"] = np.asarray(images), _texts(labels)
        if arrays["x_train"].ndim == 2:
            rules = columns if isinstance(columns, ColumnRules) else ColumnRules(columns)
            source = Source.of_columns(*rules.applied(arrays, name), name)
            source = source._replace(class_names=source.class_names or tuple(class_names))
        else:
            source = Source.of(
                arrays, name, channels=channels, white=white, class_names=tuple(class_names)
            )
        return cls.of_source(source, name, "")

    @classmethod
    def of_source(cls, source: Source, name: str, known_hash: str) -> Dataset:
        """Make a dataset of what a loader returned."""
        arrays: dict[str, Any] = {}
        for part, (images, labels, _) in source.parts.items():
            arrays[f"x_{part}"], arrays[f"y_{part}"] = source.parts[part].rows(), labels
            shape = images.shape[1:]
        return cls(
            name=name,
            **arrays,
            task=Task(shape, 2, source.bounds, columns=source.columns),  # it counts the classes
            class_names=source.class_names,
            notes=source.notes,
            known_hash=known_hash,
        )

    def _images(self, part: str) -> Float32:
        x = np.asarray(getattr(self, f"x_{part}"))
        where, task = f"{self.name}: x_{part}", self.task
        if x.ndim != 2 or x.shape[1] != task.n_features:
            raise InputError(
                f"{where} has shape {x.shape}; images of {task.image_shape} (height, width, "
                f"channels) are rows of {task.n_features}: shape (n, {task.n_features})"
            )
        if x.dtype.kind != "f":
            raise InputError(
                f"{where} is of {x.dtype}; images are floats in {task.bounds}, bytes divided by 255"
            )
        low, high = task.bounds
        if len(x) and not (x.min() >= low and x.max() <= high):  # false for NaN too
            raise InputError(f"{where}: found {found_range(x)}, expected floats in {task.bounds}")
        if part != "val" and not len(x):
            raise InputError(f"{where} is empty")
        return np.require(x, np.float32, ["C", "A", "W"])

    def _labels(self, part: str, n: int) -> npt.NDArray[Any]:
        y = np.asarray(getattr(self, f"y_{part}"))
        if y.shape != (n,):
            raise InputError(f"{self.name}: y_{part} has shape {y.shape}; {n} images have {n}")
        if y.dtype.kind == "f" and not np.array_equal(y, np.floor(y)):
            raise InputError(f"{self.name}: y_{part} holds fractions or NaN, expected classes")
        return y

    def _names(self, classes: npt.NDArray[Any]) -> tuple[str, ...]:
        given, labels = self.class_names, classes.tolist()
        if not given:
            return tuple(class_name(label) for label in labels)
        if classes.dtype.kind in "iuf" and labels[0] >= 0 and labels[-1] < len(given):
            return tuple(given[int(label)] for label in labels)
        if len(given) != len(labels):
            raise InputError(
                f"{self.name}: {len(given)} class_names for {len(labels)} classes of training "
                f"images ({listed([class_name(label) for label in labels])})"
            )
        return tuple(given)

    def _name_of(self, label: Any) -> str:
        given = self.class_names
        known = isinstance(label, int | np.integer) and 0 <= label < len(given)
        return given[int(label)] if known else class_name(label)

    def _numbered(
        self, part: str, y: npt.NDArray[Any], classes: npt.NDArray[Any], names: tuple[str, ...]
    ) -> Labels:
        known = np.isin(y, classes)
        if not known.all():
            strange = y[~known]
            raise InputError(
                f"{self.name}: no training row is of class {self._name_of(strange[0])}, and "
                f"{np.count_nonzero(y == strange[0])} {part} rows are; leave them out (of a file "
                f"or a folder by classes={'-'.join(names)})"
            )
        numbers: Labels = np.searchsorted(classes, y).astype(np.int64)
        return numbers


def _texts(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return labels as an array; texts that pandas keeps as objects as texts."""
    y = np.asarray(labels)
    texts = y.dtype.kind == "O" and all(isinstance(label, str) for label in y.flat)
    return y.astype(str) if texts else y
