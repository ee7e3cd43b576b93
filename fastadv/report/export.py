"""Rows for other programs: one JSON document, or comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fastadv.grid.row import SCHEMA, Row

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult


def rows_json(result: GridResult) -> str:
    """Return ``{"schema": 2, "grid": {...}, "rows": [...], "worst": [...]}``."""
    document = {
        "schema": SCHEMA, "grid": result.grid, "rows": result.rows, "worst": result.worst,
    }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def rows_csv(rows: Sequence[Row]) -> str:
    """Return a header and a line for each row; what a row does not have is empty.

    Nested values are columns by themselves (``distances.l2``, ``attacked_accuracy.low``), in the
    order of the row's fields; lists are separated by spaces; flags and notes are their names;
    parameters and runs are left out.
    """
    records = [_flat(row) for row in rows]
    found = dict.fromkeys(key for record in records for key in record)
    nested = {key.partition(".")[0] for key in found if "." in key}  # None where a row has none
    fields = Row.__struct_fields__
    columns = sorted(
        [key for key in found if key not in nested],
        key=lambda key: fields.index(key.partition(".")[0]),
    )
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in msgspec.to_builtins(row).items():
        if key in ("parameters", "runs"):
            continue
        if key in ("flags", "notes"):
            flat[key] = " ".join(remark["name"] for remark in value)
        else:
            flat.update(_columns(key, value))
    return flat


def _columns(name: str, value: Any) -> dict[str, Any]:
    """Return the columns of a value; a nested one has one for each of its own."""
    if isinstance(value, (list, tuple)):
        return {name: " ".join(map(str, value))}
    if not isinstance(value, dict):
        return {name: value}
    columns: dict[str, Any] = {}
    for key, inner in value.items():
        columns.update(_columns(f"{name}.{key}", inner))
    return columns
