"""A trained model as plain arrays, and these in a file: a NumPy archive, never code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastadv.arrays import read_arrays, write_arrays
from fastadv.errors import InputError
from fastadv.files import UNREADABLE
from fastadv.protocols import Persistent


class Saved(Persistent):
    """A model that is kept in a file by what `state` gives of it."""

    def save(self, path: str | Path) -> None:
        """Write the trained model to ``path``."""
        write_arrays(Path(path), {"model": np.array(type(self).__name__), **self.state()})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written.

        Raises
        ------
        InputError
            If the file is absent, is another model's, or of another form.
        """
        try:
            arrays = read_arrays(Path(path))
            name = str(arrays.pop("model"))
            if name != cls.__name__:
                raise InputError(f"it holds a model of class {name}, expected {cls.__name__}")
            model: Self = cls.from_state(arrays)
            return model
        except FileNotFoundError:
            raise InputError(f"there is no file {path}") from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (*UNREADABLE, TypeError) as error:
            raise InputError(f"{path} is not a saved {cls.__name__} ({error})") from None


def plain_classes(classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the classes of a model; raise InputError if they are objects."""
    if classes.dtype.hasobject:
        raise InputError("classes of type object cannot be saved; train on numbers or plain text")
    return classes


def as_text(parameters: dict[str, Any]) -> npt.NDArray[np.str_]:
    """Return a constructor's parameters as JSON, the numbers of NumPy as Python's."""
    return np.array(json.dumps(parameters, default=lambda value: value.tolist()))


def from_text(parameters: npt.NDArray[np.str_]) -> dict[str, Any]:
    """Return the parameters of which `as_text` made this, tuples as lists."""
    read: dict[str, Any] = json.loads(str(parameters))
    return read
