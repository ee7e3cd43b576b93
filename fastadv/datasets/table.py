"""What readers of tables share: the column of labels, images of the others, a file for tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32
from fastadv.datasets.column_options import ColumnOptions
from fastadv.datasets.layout import Channels
from fastadv.datasets.sources import Source
from fastadv.errors import InputError, brief
from fastadv.specs import closest, shown

_SHAPE = re.compile(r"(\d{1,5})x(\d{1,5})(?:x(\d{1,5}))?", re.ASCII)
_MANY = 8  # names that an error lists


class Table(NamedTuple):
    """A table as it was read.

    Attributes
    ----------
    columns : tuple of str
        The names of all but the label's.
    values : ndarray of float32, shape (n, d)
        Finite.
    labels : ndarray of str, shape (n,)
    dropped : tuple of str
        The names of columns that were left out.
    """

    columns: tuple[str, ...]
    values: Float32
    labels: npt.NDArray[np.str_]
    dropped: tuple[str, ...] = ()


Known = Sequence[str] | None  # columns of a training file that are left out, to be so again


def read_table(
    path: Path,
    read: Callable[[Path, Known], Table],
    *,
    shape: str | None,
    channels: Channels | None,
    white: float | None,
    test_file: str | None,
    options: ColumnOptions,
) -> Source:
    """Read a table, and another one for tests, as images.

    Parameters
    ----------
    path : Path
    read : callable
        Reads a file, and leaves columns out.
    shape : str or None
        Of an image, such as ``28x28``; None is columns that are no pixels.
    channels, white : see `Source.of`
        Whole numbers from 0 to 255 are bytes.
    test_file : str or None
        Without it rows for tests are drawn.
    options : ColumnOptions
        Of columns that are no pixels.

    Raises
    ------
    InputError
        If the columns are not as many as an image has pixels.
    """
    image_shape = None if shape is None else parse_shape(shape, path)
    for name, stated in (("channels", channels), ("range", white)):
        if stated is not None and shape is None:
            raise InputError(f"{path}: {name} is of images: state their shape, too (shape=28x28)")
    if image_shape is not None and options.stated():
        raise InputError(f"{path}: {options.stated()[0]} is of columns that are no pixels")
    train = read(path, None)
    tables = {"train": train}
    if test_file is not None:
        test = read(_path_of(test_file), train.dropped)
        tables["test"] = _aligned(test, train, test_file)
    if image_shape is None:
        columns = {f"x_{part}": table.values for part, table in tables.items()}
        labels = {f"y_{part}": table.labels for part, table in tables.items()}
        rules = options.rules(train.columns, str(path))
        return Source.of_columns(columns | labels, rules, str(path))
    whole = white is None and all(_is_bytes(table.values) for table in tables.values())
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part, table in tables.items():
        if table.values.shape[1] != np.prod(image_shape):
            raise InputError(
                f"{path}: found {table.values.shape[1]:,} columns beside the label, expected "
                f"{np.prod(image_shape):,} for shape={shape}"
            )
        values = table.values.astype(np.uint8) if whole else table.values
        arrays[f"x_{part}"] = values.reshape(-1, *image_shape)
        arrays[f"y_{part}"] = table.labels
    return Source.of(arrays, str(path), channels=channels, white=white)


def parse_shape(text: str, path: Path) -> tuple[int, ...]:
    """Return the numbers of ``28x28`` or ``32x32x3``."""
    match = _SHAPE.fullmatch(text.strip().lower())
    shape = tuple(int(number) for number in match.groups() if number) if match else ()
    if not shape or 0 in shape:
        wanted = "height and width, such as 28x28, or with channels, such as 32x32x3"
        raise InputError(f"{path}: shape has to be {wanted}, got {shown(text)}")
    return shape


def find_label(columns: Sequence[str], label: str, path: Path) -> int:
    """Return which column has the labels; check that no name is missing or there twice.

    Raises
    ------
    InputError
        If there is no such column, or the names are not one each.
    """
    if label not in columns:
        there = brief(", ".join(columns[:_MANY]) + (", ..." if len(columns) > _MANY else ""))
        hint = closest(label, columns) or "."
        raise InputError(
            f"{path}: no column is called {label!r}{hint} State the one of the classes in "
            f"brackets: label=NAME (there are {there})"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}: more than one column is called {twice[0]!r}; rename all but one")
    unnamed = [i for i, name in enumerate(columns, 1) if not name or name.startswith("__index")]
    if unnamed:
        raise InputError(
            f"{path}: column {unnamed[0]} has no name: is it the index of a data frame? Write the "
            "file without it (index=False)"
        )
    if len(columns) == 1:
        raise InputError(f"{path}: found one column, {label!r}, expected others beside it")
    return list(columns).index(label)


def find_dropped(
    columns: Sequence[str], label: int, path: Path, options: ColumnOptions, known: Known
) -> list[int]:
    """Return which columns are left out: those of the options, or those that are ``known``.

    Raises
    ------
    InputError
        If one is not there, or is that of the labels, or no other is left.
    """
    names = options.dropped(columns, str(path)) if known is None else known
    if columns[label] in names:
        raise InputError(f"{path}: drop has {columns[label]!r}, the column of the classes")
    if set(columns) <= {columns[label], *names}:
        raise InputError(f"{path}: no column is left beside {columns[label]!r}")
    return [place for place, name in enumerate(columns) if name in names]


def missing_fault(path: Path, column: str, n_rows: int, first: str = "") -> InputError:
    """Return the error for values that are missing: in which column first, and in how many rows."""
    where = f", first in {first}" if first else ""
    rows = f"{n_rows:,} {'row has' if n_rows == 1 else 'rows have'} missing values"
    return InputError(
        f"{path}: {rows}{where} (column {column!r}); leave these rows out, or fill the values in"
    )


def text_fault(path: Path, column: str, found: str, first: str = "") -> InputError:
    """Return the error for a column that holds something else than numbers."""
    where = f" in {first}" if first else ""
    if re.fullmatch(r"[+-]?\d+,\d+", found):
        return InputError(
            f"{path}: column {column!r} has decimal commas ({found!r}{where}); write points"
        )
    return InputError(
        f"{path}: column {column!r} holds text ({found!r}{where}); make it numbers, a column of 0 "
        "and 1 for each of its values, or leave it out"
    )


def _is_bytes(values: Float32) -> bool:
    whole = np.array_equal(values, np.floor(values))
    return bool(whole and values.min() >= 0 and values.max() <= 255)


def _path_of(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.exists()
    except (ValueError, RuntimeError):  # a null byte; no such home folder
        raise InputError(f"test_file: {text!r} cannot be the name of a file") from None
    except OSError as error:
        raise InputError(f"test_file: {brief(text)} cannot be read ({error.strerror})") from None
    return path


def _aligned(test: Table, train: Table, test_file: str) -> Table:
    """Return the table for tests with its columns in the order of the one to train on."""
    if test.columns == train.columns:
        return test
    for columns, others, found in (
        (train.columns, test.columns, "no column"),
        (test.columns, train.columns, "one column too many:"),
    ):
        missing = [name for name in columns if name not in others]
        if missing:
            raise InputError(f"{test_file}: {found} {missing[0]!r}, unlike the training file")
    order = [test.columns.index(name) for name in train.columns]
    return test._replace(columns=train.columns, values=test.values[:, order])
