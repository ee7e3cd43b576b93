"""A table as a data frame of the library that a caller has."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np

from fastadv.errors import InputError
from fastadv.grid.tidy import Table

LIBRARIES = ("pandas", "polars")  # the first that is imported, else the first that is installed


def frame(table: Table, library: str | None = None) -> Any:
    """Return a table as a frame of ``library``; missing numbers are missing values there.

    Parameters
    ----------
    table : Table
    library : str or None
        ``pandas``, ``polars`` or another that narwhals makes frames of (``pyarrow``, ``modin``).
        None: the one of `LIBRARIES` that the caller has imported, or else has installed.

    Raises
    ------
    InputError
        If it, or narwhals, is not installed.
    """
    name = _chosen() if library is None else library
    if name in LIBRARIES and not _is_installed(name):
        raise InputError(f"{name} is not installed: pip install {name}")
    if not _is_installed("narwhals"):
        raise InputError("to_frame needs narwhals: pip install narwhals")
    import narwhals as nw

    types = {"string": nw.String, "int64": nw.Int64, "float64": nw.Float64, "bool": nw.Boolean}
    schema = {column.name: types[column.dtype]() for column in table.columns}
    chunks = list(table.chunks())
    data: dict[str, Any] = {
        c.name: np.concatenate([chunk[c.name] for chunk in chunks]) if chunks else []
        for c in table.columns
    }
    try:
        made = nw.from_dict(data, schema, backend=name)
    except ImportError:
        raise InputError(f"{name} is not installed: pip install {name}") from None
    except ValueError as error:
        if "backend" not in str(error):
            raise
        raise InputError(f"to_frame makes frames of pandas or polars, not of {name!r}") from None
    numbers = [column.name for column in table.columns if column.dtype == "float64"]
    return made.with_columns(nw.col(*numbers).fill_nan(None)).to_native()


def _chosen() -> str:
    imported = [name for name in LIBRARIES if sys.modules.get(name) is not None]
    installed = list(filter(_is_installed, LIBRARIES))
    if not imported and not installed:
        raise InputError("to_frame needs pandas or polars: pip install pandas")
    return (imported or installed)[0]


def _is_installed(name: str) -> bool:
    return sys.modules.get(name) is not None or importlib.util.find_spec(name) is not None
