"""A trained model as plain arrays, and these in a file, which is never code.

The end of its name tells the format: ``.safetensors``, or else a NumPy archive.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays, read_arrays, write_arrays
from fastadv.errors import InputError
from fastadv.files import UNREADABLE
from fastadv.models.adapters import safetensors_file
from fastadv.protocols import Persistent


class Saved(Persistent):
    """A model that is kept in a file by what `state` gives of it."""

    def save(self, path: str | Path) -> None:
        """Write the trained model to ``path``: as safetensors if it ends so, else as an archive.

        Raises
        ------
        InputError
            If it is to be safetensors and that is not installed, or ONNX, see `fastadv.to_onnx`.
        """
        if Path(path).suffix == ".onnx":
            raise InputError(
                "save keeps a model for fastadv; fastadv.to_onnx(model, path) writes ONNX"
            )
        path, arrays = Path(path), {"model": np.array(type(self).__name__), **self.state()}
        if path.suffix.lower() == safetensors_file.SUFFIX:
            safetensors_file.write(path, arrays)
        else:
            write_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written.

        Raises
        ------
        InputError
            If the file is absent, is another model's, or of another form.
        """
        try:
            arrays = read_saved(Path(path))
            name = str(arrays.pop("model"))
            if name != cls.__name__:
                raise InputError(f"it holds a model of class {name}, expected {cls.__name__}")
            model: Self = cls.from_state(arrays)
            return model
        except FileNotFoundError:
            raise InputError(f"there is no file {path}") from None
        except InputError as error:
            said = str(error)
            raise InputError(said if str(path) in said else f"{path}: {said}") from None
        except (*UNREADABLE, TypeError) as error:
            raise InputError(f"{path} is not a saved {cls.__name__} ({error})") from None


def read_saved(path: Path) -> Arrays:
    """Return the arrays that `Saved.save` has written, the name of the class as ``model``.

    One of `fastadv.files.UNREADABLE` is raised if it is no archive, InputError if it is no
    safetensors file of fastadv's.
    """
    is_tensors = path.suffix.lower() == safetensors_file.SUFFIX
    return safetensors_file.read(path) if is_tensors else read_arrays(path)


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
