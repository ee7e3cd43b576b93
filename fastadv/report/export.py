"""Rows for other programs: one JSON document, or tidy tables as CSV, JSON lines and Parquet.

What the columns are, and why numbers that are missing are ``NaN`` in CSV, is in
docs/guide/data-out.md.
"""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

import msgspec

from fastadv.errors import InputError
from fastadv.grid.row import SCHEMA
from fastadv.grid.tidy import Column, Table
from fastadv.visible import visible, visible_json

if TYPE_CHECKING:
    from fastadv.arrays import Arrays
    from fastadv.grid.result import GridResult

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "'")
_ROW_GROUP = 1 << 16  # rows of a Parquet file that are written, and read, at once


def rows_json(result: GridResult) -> str:
    """Return ``{"schema": 2, "grid": {...}, "rows": [...], "worst": [...]}``."""
    document = {
        "schema": SCHEMA, "grid": result.grid, "rows": result.rows, "worst": result.worst,
    }  # fmt: skip
    return visible_json(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())


# -- CSV ------------------------------------------------------------------------------------


def write_csv(table: Table, stream: IO[str]) -> None:
    """Write a header and a line a row, from which readers infer the types of the columns.

    A missing number is ``NaN``. Control characters of a text are shown (`visible`), and one that a
    spreadsheet would run as a formula begins with an apostrophe (`as_text`).
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([as_text(column.name) for column in table.columns])
    for chunk in table.chunks():
        writer.writerows(zip(*(_fields(chunk, c) for c in table.columns), strict=True))


def as_text(text: str) -> str:
    """Return a CSV field that no spreadsheet takes for a formula.

    An apostrophe stands before one that begins with ``=``, ``+``, ``-`` or ``@``, wide ones too, or
    with an apostrophe, so that taking one away gives back every text.
    """
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _fields(chunk: Arrays, column: Column[Any]) -> Iterable[str]:
    values = chunk[column.name].tolist()
    match column.dtype:
        case "string":
            known = {text: as_text(text) for text in set(values)}
            return (known[text] for text in values)
        case "bool":
            return ("true" if value else "false" for value in values)
        case "float64":
            return ("NaN" if math.isnan(value) else repr(value) for value in values)
        case "int64":
            return map(str, values)


# -- JSON lines -----------------------------------------------------------------------------


def write_lines(table: Table, stream: IO[str]) -> None:
    """Write a JSON object a row, each on a line of its own; a missing number is null."""
    names = [column.name for column in table.columns]
    for chunk in table.chunks():
        for values in zip(*(chunk[name].tolist() for name in names), strict=True):
            row = msgspec.json.encode(dict(zip(names, values, strict=True))).decode()
            stream.write(visible_json(row) + "\n")


# -- Parquet --------------------------------------------------------------------------------


def write_parquet(table: Table, stream: IO[bytes]) -> None:
    """Write a Parquet file with the types of the columns; unit and meaning are in its schema.

    Raises
    ------
    InputError
        If pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("parquet needs pyarrow: pip install pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        "string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(),
    }  # fmt: skip
    fields = [
        pa.field(
            c.name, types[c.dtype], c.dtype in ("float64",), {"unit": c.unit, "meaning": c.meaning}
        )
        for c in table.columns
    ]
    schema = pa.schema(fields, {"fastadv_schema": str(SCHEMA)})
    with parquet.ParquetWriter(stream, schema) as writer:
        for group in _groups(table):
            arrays = [
                pa.chunked_array(
                    [pa.array(c[f.name], f.type, from_pandas=True) for c in group], f.type
                )
                for f in schema
            ]
            writer.write_table(pa.table(arrays, schema=schema))


def _groups(table: Table) -> Iterator[list[Arrays]]:
    """Yield chunks together that have as many rows as a reader should get at once."""
    group: list[Arrays] = []
    n, first = 0, table.columns[0].name
    for chunk in table.chunks():
        group.append(chunk)
        n += len(chunk[first])
        if n >= _ROW_GROUP:
            yield group
            group, n = [], 0
    yield group
