"""Tables as Apache Parquet files, ``.parquet``; needs pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastadv.datasets.column_options import FOUND, ColumnOptions
from fastadv.datasets.layout import Channels
from fastadv.datasets.memory import check_fits
from fastadv.datasets.sources import Source
from fastadv.datasets.table import (
    Known,
    Table,
    find_dropped,
    find_label,
    missing_fault,
    read_table,
    text_fault,
)
from fastadv.errors import InputError, brief
from fastadv.files import open_plain


def reads(path: Path) -> bool:
    """Return whether the path is a file that is called ``.parquet``."""
    return path.is_file() and path.suffix.lower() == ".parquet"


def read_parquet(
    path: Path,
    /,
    *,
    label: str = "label",
    shape: str | None = None,
    test_file: str | None = None,
    channels: Channels | None = None,
    range: float | None = None,
    drop: str | None = None,
    fixed: str | None = None,
    whole: str = FOUND,
    one_hot: str | None = None,
    low: str | None = None,
    high: str | None = None,
) -> Source:
    """Read a table: the class of each row in one column, numbers or pixels in the others.

    Parameters
    ----------
    label : str
        The name of the column of classes, which may be texts.
    shape : str or None
        Of images: 28x28 or, of colours, 32x32x3. Without it the columns are no pixels; each is
        scaled to [0, 1] by its range over the training rows.
    test_file : str or None
        A file of the same columns, for tests. Without it one row in five is drawn for them.
    channels : {"first", "last"} or None
        Where the channels of an image are, if its shape does not say so.
    range : float or None
        The value of white, if it is not 255 of whole numbers or 1 of others.
    drop : str or None
        Columns that are left out, joined by +: ID+name. They may hold texts.
    fixed : str or None
        Columns that no attack may change.
    whole : str
        Columns that stay whole numbers; none; or found: all that hold nothing else.
    one_hot : str or None
        Groups of columns of which one is 1 and the others 0: what their names begin with, color of
        color=red or color_red, or the columns joined by |.
    low, high : str or None
        NAME:NUMBER, what 0 and 1 stand for, in place of the range of the training rows.

    Raises
    ------
    InputError
        If pyarrow is not there, it is no such table, or a value is missing or no number.
    """
    options = ColumnOptions(drop, fixed, whole, one_hot, low, high)
    return read_table(
        path,
        lambda file, known: _read(file, label, options, known),
        shape=shape,
        channels=channels,
        white=range,
        test_file=test_file,
        options=options,
    )


def _read(path: Path, label: str, options: ColumnOptions, known: Known) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f"{path}: Parquet files need pyarrow: pip install pyarrow") from None
    try:
        with open_plain(path) as opened, pq.ParquetFile(opened) as file:
            names = [str(name) for name in file.schema_arrow.names]
            place = find_label(names, label, path)
            dropped = find_dropped(names, place, path, options, known)
            check_fits(path, 4 * len(names) * file.metadata.num_rows)
            left_out = tuple(names[i] for i in dropped)
            table = file.read().drop_columns(list(left_out))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as a Parquet file ({brief(error)})") from None
    if not table.num_rows:
        raise InputError(f"{path}: found no row")
    names = [name for name in names if name not in left_out]
    place = names.index(label)
    _check_columns(path, table, place)
    labels = table.column(place).combine_chunks()
    if pa.types.is_dictionary(labels.type):
        labels = labels.dictionary_decode()
    columns = names[:place] + names[place + 1 :]
    values = np.empty((table.num_rows, len(columns)), dtype=np.float32)
    for i, column in enumerate(c for j, c in enumerate(table.columns) if j != place):
        values[:, i] = column.to_numpy()
    wrong = ~np.isfinite(values)
    if wrong.any():
        column = columns[int(np.argmax(wrong.any(axis=0)))]
        raise missing_fault(path, column, int(np.count_nonzero(wrong.any(axis=1))))
    texts = np.array([str(label) for label in labels.to_pylist()])
    return Table(tuple(columns), values, texts, left_out)


def _check_columns(path: Path, table: Any, place: int) -> None:
    """Raise InputError for a column that holds no numbers, and for values that are missing."""
    import pyarrow as pa

    missing = np.zeros(table.num_rows, dtype=bool)
    first = ""
    for i, column in enumerate(table.columns):
        name, kind = table.schema.names[i], column.type
        numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if i != place and not (numbers or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            found = next((value for value in column.to_pylist() if value is not None), kind)
            raise text_fault(path, name, str(found))
        if column.null_count:
            missing |= column.is_null().to_numpy()
            first = first or name
    if first:
        raise missing_fault(path, first, int(np.count_nonzero(missing)))
