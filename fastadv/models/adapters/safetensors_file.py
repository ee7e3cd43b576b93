"""Plain arrays as a safetensors file, with what they are the arrays of in its metadata.

Numbers are tensors of the file. Texts, which the format has no type for, are in the metadata: the
class of the model, the parameters that it was made with, labels that are texts.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from fastadv.arrays import Arrays
from fastadv.errors import InputError, brief
from fastadv.files import atomic_write, open_plain

SUFFIX = ".safetensors"
_KEY = "fastadv"  # of the metadata: one text, JSON
_SCHEMA = 1
_NUMBERS = "biuf"  # kinds of dtypes
_NAMED = 4  # tensors that a message names


def write(path: Path, arrays: Arrays) -> None:
    """Write arrays of numbers and of texts.

    Raises
    ------
    InputError
        If safetensors is not installed.
    """
    numpy = _library("safetensors.numpy", path)
    numbers = {
        name: np.ascontiguousarray(array).reshape(array.shape)
        for name, array in arrays.items()
        if array.dtype.kind in _NUMBERS
    }
    texts = {name: array.tolist() for name, array in arrays.items() if name not in numbers}
    described = json.dumps({"schema": _SCHEMA, "texts": texts}, sort_keys=True)
    data = numpy.save(numbers, metadata={_KEY: described})
    with atomic_write(path) as stream:
        stream.write(data)


def read(path: Path) -> Arrays:
    """Return the arrays that `write` has written.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    InputError
        If safetensors is not installed, or the file is none, damaged or another program's.
    """
    library = _library("safetensors", path)
    with open_plain(path):  # a pipe would hang
        pass
    try:
        with library.safe_open(path, framework="numpy") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            if _KEY not in metadata:
                raise InputError(_anothers(path, names))
            described = json.loads(metadata[_KEY])
            texts = {name: np.array(text, dtype=str) for name, text in described["texts"].items()}
            return {**texts, **{name: np.array(file.get_tensor(name)) for name in names}}
    except InputError:
        raise
    except Exception as error:  # the library raises one of its own, NumPy and json others
        raise InputError(f"{path} is no safetensors file, or damaged ({brief(error)})") from None


def _anothers(path: Path, names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    return (
        f"{path} holds tensors ({shown or 'none'}), and not which model they are of: write a "
        "factory that makes the model and loads them, and give FILE.py:FACTORY"
    )


def _library(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"{path} needs safetensors to be read or written: pip install safetensors"
        ) from None
