"""Rows for other programs: one JSON document, or comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from fastadv.grid.several import Mean
    from fastadv.grid.store import Row
    from fastadv.grid.worst import Worst

SCHEMA = 1

# Fields that hold several figures, each a column of its own.
_NESTED = ("distances", "queries", "seconds", "poison", "sanitized", "certified")


def rows_json(
    grid: dict[str, Any],
    rows: Sequence[Row],
    worst: Sequence[Worst],
    means: Sequence[Mean] = (),
) -> str:
    """Return ``{"schema": 1, "grid": {...}, "rows": [...], "worst": [...]}``.

    Of a grid of several seeds ``means`` stands behind them.

    Parameters
    ----------
    grid : dict
        What was asked for, by the names of the flags.
    worst : sequence of Worst
        The worst case of each threat model, defense and seed.
    means : sequence of Mean
        The mean over seeds of each cell and worst case, with its interval.
    """
    document = {"schema": SCHEMA, "grid": grid, "rows": rows, "worst": worst}
    document |= {"means": means} if means else {}
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def rows_csv(rows: Sequence[Row]) -> str:
    """Return a header and a line for each row; what a row does not have is empty.

    Nested figures are columns by themselves (``distances.l2``), the interval is two
    (``attacked_accuracy_low``, ``attacked_accuracy_high``), flags and notes are their names.
    """
    records = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for record in records for key in record))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _flat(row: Row) -> dict[str, Any]:
    record = msgspec.to_builtins(row)
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if key == "parameters":
            continue
        if key == "attacked_accuracy_ci95":
            flat["attacked_accuracy_low"], flat["attacked_accuracy_high"] = value or ("", "")
        elif key in ("flags", "notes"):
            flat[key] = " ".join(remark["name"] for remark in value)
        elif key in _NESTED:
            flat.update({f"{key}.{name}": inner for name, inner in (value or {}).items()})
        else:
            flat[key] = value
    return flat
