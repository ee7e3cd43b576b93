"""What a loader returns: the images and labels of the three parts, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Labels
from fastadv.columns import ColumnRules, Columns
from fastadv.datasets.labels import as_numbers
from fastadv.datasets.layout import Channels, channels_last, white_of
from fastadv.datasets.parts import PARTS, Part, hash_arrays
from fastadv.datasets.splits import hold_out, split_off_test
from fastadv.errors import InputError

_LISTED = 4  # names of columns in a note
_MOST_CLASSES = 100  # that need not have two images each


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
    columns : Columns or None
        Of data that are no images: (n, 1, d, 1).
    """

    parts: dict[str, Part]
    hash: str
    notes: tuple[str, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    class_names: tuple[str, ...] = ()
    columns: Columns | None = None

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        where: str,
        *,
        channels: Channels | None = None,
        white: float | None = None,
        class_names: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        known_hash: str = "",
    ) -> Source:
        """Check arrays as a loader has them, and hold out the parts that are not there.

        Without ``x_test`` one training row in five is for tests; then, without ``x_val``, one in
        twelve of the others for validation: in the proportions of the classes, always the same.

        Parameters
        ----------
        arrays : mapping of ndarray
            ``x_train, y_train`` and, if they are there, ``x_test, y_test`` and ``x_val, y_val``:
            images (n, H, W), (n, H, W, C) or (n, C, H, W); labels are whole numbers from 0 on, or
            texts.
        where : str
            What the errors name.
        channels : {"first", "last"} or None
            None tells by the shape.
        white : float or None
            The value that stands for 1; None is 255 of bytes and 1 of floats.
        class_names : tuple of str
            What the labels 0, 1, ... stand for, if they are not their own names, nor texts.
        notes : tuple of str
            What the loader has to say already.
        known_hash : str
            A hash of what the arrays were made of, to save hashing them.

        Raises
        ------
        InputError
            If one is not of that form.
        """
        there = [part for part in PARTS if f"x_{part}" in arrays]
        labels, names = as_numbers({part: arrays[f"y_{part}"] for part in there}, where)
        class_names = names or class_names
        parts, turned = {}, {}
        for part in there:
            images, name = arrays[f"x_{part}"], f"{where}: {part}"
            parts[part], was_first = _check_part(images, labels[part], name, channels, white)
            if was_first:
                turned[part] = images.shape
        _check_together(parts, where)
        found = _notes(parts["train"], turned if channels is None else {}, white)
        source_hash = known_hash or hash_arrays(arrays)
        parts, drawn = _complete(parts, where, class_names)
        return cls(parts, source_hash, (*notes, *found, *drawn), class_names=class_names)

    @classmethod
    def of_columns(
        cls, arrays: Mapping[str, npt.NDArray[Any]], rules: ColumnRules, where: str
    ) -> Source:
        """Check columns that are no pixels, hold out the parts that are not there, and scale.

        Each column goes from 0 to 1 over the training rows, or over the range that is declared;
        values that are beyond are set to these ends.

        Parameters
        ----------
        arrays : mapping of ndarray
            As those of `of`, but x_train, x_val and x_test are (n, d), of finite numbers.
        rules : ColumnRules
            The names of the columns, and what is said of them.
        where : str
            What the errors name.

        Raises
        ------
        InputError
            If one is not of that form, or not what is said of it, or a column has one value in all
            training rows.
        """
        there = [part for part in PARTS if f"x_{part}" in arrays]
        labels, class_names = as_numbers({part: arrays[f"y_{part}"] for part in there}, where)
        parts, names = {}, rules.names
        for part in there:
            values, n = arrays[f"x_{part}"], len(labels[part])
            if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
                raise InputError(f"{where}: {part} columns hold other things than finite numbers")
            if values.shape != (n, len(names)):
                raise InputError(
                    f"{where}: {part} columns have shape {values.shape}, expected "
                    f"({n}, {len(names)})"
                )
            checked = _check_labels(labels[part], n, f"{where}: {part} labels")
            parts[part] = Part(values.reshape(n, 1, -1, 1), checked, white=1.0)
        _check_together(parts, where)
        parts, drawn = _complete(parts, where, class_names)
        rows = {key: part.images[:, 0, :, 0] for key, part in parts.items()}
        columns, beyond = Columns.of(rows, rules, where), 0
        for key, values in rows.items():
            scaled, n_beyond = columns.scaled(values)
            parts[key] = parts[key]._replace(images=scaled.reshape(-1, 1, len(names), 1))
            beyond += n_beyond
        declared = bool(rules.low or rules.high)
        notes = _column_notes(columns, beyond, declared=declared)
        source_hash = hash_arrays({**arrays, **columns.ruled()})
        return cls(parts, source_hash, notes + drawn, class_names=class_names, columns=columns)


def _complete(
    parts: dict[str, Part], where: str, class_names: tuple[str, ...]
) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the parts with those that were not there drawn, and what is to be said of that."""
    notes: tuple[str, ...] = ()
    if "test" not in parts:
        n = len(parts["train"].labels)
        parts = split_off_test(parts, where, class_names)
        notes = (
            f"no part for tests is there: {len(parts['test'].labels):,} of {n:,} rows were "
            "drawn for it, in the proportions of the classes",
        )
    return parts if "val" in parts else hold_out(parts, where), notes


def _column_notes(columns: Columns, beyond: int, *, declared: bool) -> tuple[str, ...]:
    """Return what was made of columns, and what attacks keep to."""
    over = "its declared range, or over the training rows" if declared else "the training rows"
    notes = [
        f"each of {len(columns.names):,} columns goes from 0 to 1 over {over}: a budget of 0.1 "
        "is a tenth of that range"
    ]
    if beyond:
        of = "values" if declared else "values of other rows"
        notes.append(f"{beyond:,} {of} were beyond it, and were set to its ends")
    for places, says in (
        (columns.fixed, "no attack changes"),
        (columns.whole, "whole numbers stay whole numbers in"),
        (tuple(place for group in columns.one_hot for place in group), "one-hot groups stay so in"),
    ):
        if places:
            found = ", ".join(columns.names[place] for place in places[:_LISTED])
            more = ", ..." if len(places) > _LISTED else ""
            s = "" if len(places) == 1 else "s"
            notes.append(f"{says} {len(places):,} column{s} ({found}{more})")
    return tuple(notes)


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
