"""USPS's digits as they are published and as torchvision keeps them: usps.bz2 and usps.t.bz2."""

from __future__ import annotations

import bz2
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.datasets.sources import Source
from fastadv.errors import InputError, brief
from fastadv.files import open_plain

_TRAIN, _TEST = "usps.bz2", "usps.t.bz2"
_SIDE = 16
_LARGEST = 64 << 20  # bytes, unpacked: those of USPS are a third of it


def reads(path: Path) -> bool:
    """Return whether a folder has one of the two files."""
    return path.is_dir() and any((path / name).is_file() for name in (_TRAIN, _TEST))


def read_usps_folder(path: Path, /) -> Source:
    """Read USPS's digits, 16 x 16 grey pixels.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    return read_usps_files(path / _TRAIN, path / _TEST)


def read_usps_files(train: Path, test: Path, known_hash: str = "") -> Source:
    """Read the two files: a line a digit, its label from 1 on and its pixels from -1 to 1."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part, path in (("train", train), ("test", test)):
        pixels, labels = _read(path)
        if not (np.abs(pixels) <= 1).all():
            raise InputError(f"{path}: found pixels beyond -1 and 1")
        arrays[f"x_{part}"] = ((pixels + 1) / 2).astype(np.float32).reshape(-1, _SIDE, _SIDE)
        arrays[f"y_{part}"] = labels - 1
    return Source.of(arrays, str(train.parent), known_hash=known_hash)


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from sklearn.datasets import load_svmlight_file

    try:
        with open_plain(path) as packed, bz2.open(packed) as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise InputError(f"{path}: unpacks to more than {_LARGEST >> 20} MiB, expected USPS's")
        sparse, labels = load_svmlight_file(io.BytesIO(text), n_features=_SIDE**2)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, OverflowError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(
            f"{path}: cannot be read ({brief(reason)}), expected USPS's {_TRAIN} or {_TEST}"
        ) from None
    return sparse.toarray(), labels
