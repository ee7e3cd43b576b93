"""NumPy's archives, ``.npz``: an array by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fastadv.archive import Archive
from fastadv.datasets.layout import Channels
from fastadv.datasets.memory import check_fits
from fastadv.datasets.parts import KEYS
from fastadv.datasets.sources import Source
from fastadv.errors import InputError, brief
from fastadv.files import UNREADABLE, open_plain


def reads(path: Path) -> bool:
    """Return whether the path is a file that is such an archive, or is called one."""
    return path.is_file() and (path.suffix.lower() == ".npz" or zipfile.is_zipfile(path))


def read_npz(
    path: Path, /, *, channels: Channels | None = None, range: float | None = None
) -> Source:
    """Read x_train, y_train and, if they are there, x_test, y_test, x_val and y_val.

    Where there is no part for tests or for validation, one is drawn.

    Parameters
    ----------
    channels : {"first", "last"} or None
        Where the channels of an image are, if its shape does not say so.
    range : float or None
        The value of white, if it is not 255 of bytes or 1 of floats.

    Raises
    ------
    InputError
        If it is no such file, or an array is missing, damaged or not what it has to be.
    """
    return Source.of(_read(path), str(path), channels=channels, white=range)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    keys = list(KEYS)
    expected = f"expected a .npz file with {', '.join(keys)}"
    arrays: dict[str, npt.NDArray[Any]] = {}
    key = "the file"  # what is being read, for the errors
    try:
        with open_plain(path) as file:
            if not zipfile.is_zipfile(file):
                raise InputError(f"{path}: found a file of another kind, {expected}")
            archive = Archive(file)
            check_fits(path, archive.size)
            there = archive.names
            if "x_test" not in there and "y_test" not in there:
                keys = keys[:2]
            if "x_val" in there or "y_val" in there:
                keys += ["x_val", "y_val"]
            missing = [key for key in keys if key not in there]
            if missing:
                found = brief(", ".join(there)) or "no array"
                raise InputError(f"{path}: found {found}, expected {', '.join(missing)} too")
            for key in keys:
                arrays[key] = archive.read(key)
    except InputError:
        raise
    except UNREADABLE as error:
        if "Object arrays" in str(error):
            found = f"a pickled object array as {key}"
            raise InputError(f"{path}: found {found}, expected plain numbers") from None
        raise InputError(f"{path}: {key} cannot be read ({brief(error)}), {expected}") from None
    return arrays
