"""A trained model as plain arrays, and these in a file, which is never code.

The end of its name tells the format: ``.safetensors``, or else a NumPy archive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays, read_arrays, write_arrays
from fastadv.errors import InputError, brief
from fastadv.files import UNREADABLE
from fastadv.models.adapters import safetensors_file
from fastadv.protocols import Persistent

Made = TypeVar("Made")


class Saved(Persistent):
    """A model that is kept in a file by what `state` gives of it."""

    def save(self, path: str | Path) -> None:
        """Write the trained model to ``path``: as safetensors if it ends so, else as an archive.

        Raises
        ------
        InputError
            If it is to be safetensors and that is not installed, or ONNX, see `fastadv.to_onnx`.
        """
        written(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written.

        Raises
        ------
        InputError
            If the file is absent, is another model's, or of another form.
        """
        model: Self = loaded(cls, cls.__name__, path)
        return model


def written(model: Any, path: str | Path) -> None:
    """Write the state of a trained model to ``path``; see `Saved.save`."""
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        raise InputError("save keeps a model for fastadv; fastadv.to_onnx(model, path) writes ONNX")
    arrays = {"model": np.array(type(model).__name__), **model.state()}
    if path.suffix.lower() == safetensors_file.SUFFIX:
        safetensors_file.write(path, arrays)
    else:
        write_arrays(path, arrays)


def loaded(maker: Any, name: str, path: str | Path) -> Any:
    """Return what ``maker.from_state`` makes of a file of a model of this class; see `Saved`."""
    try:
        arrays = read_saved(Path(path))
        kind = brief(arrays.pop("model"))
        if kind != name:
            raise InputError(f"it holds a model of class {kind}, expected {name}")
        return maker.from_state(arrays)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except InputError as error:
        said = str(error)
        raise InputError(said if str(path) in said else f"{path}: {said}") from None
    except (*UNREADABLE, TypeError) as error:
        raise InputError(f"{path} is not a saved {name} ({brief(error)})") from None


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


def taken(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, kinds: str, n_dims: int
) -> npt.NDArray[Any]:
    """Return an array of a state, which may be from a file of anyone.

    Parameters
    ----------
    arrays : mapping of ndarray
    name : str
    kinds : str
        Of NumPy's types (``f``, ``iu``) that it may have.
    n_dims : int
        How many dimensions it has.

    Raises
    ------
    InputError
        If it is not there, or another; or one of floats holds NaN or infinity.
    """
    if name not in arrays:
        raise InputError(f"it has no {name}")
    array = arrays[name]
    if array.dtype.kind not in kinds or array.ndim != n_dims:
        raise InputError(f"its {name} are {array.dtype} in {array.ndim} dimensions")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"its {name} hold NaN or infinity")
    return array


def taken_classes(arrays: Mapping[str, npt.NDArray[Any]], n: int | None = None) -> npt.NDArray[Any]:
    """Return the classes of a state, n unless that is not known.

    InputError is raised as `taken` does, or if two are alike.
    """
    classes = taken(arrays, "classes", "biufU", 1)
    n = len(classes) if n is None else n
    if len(classes) != n or len(np.unique(classes)) < n:
        raise InputError(f"{len(classes)} classes for {n} columns of logits do not fit")
    return classes


def as_text(parameters: dict[str, Any]) -> npt.NDArray[np.str_]:
    """Return a constructor's parameters as JSON, the numbers of NumPy as Python's."""
    return np.array(json.dumps(parameters, default=lambda value: value.tolist()))


def from_text(parameters: npt.NDArray[np.str_]) -> dict[str, Any]:
    """Return the parameters of which `as_text` made this, tuples as lists.

    Raises
    ------
    InputError
        If it is no such text.
    """
    try:
        read = json.loads(str(parameters))
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise InputError("its parameters cannot be read")
    return read


def built(cls: type[Made], parameters: dict[str, Any]) -> Made:
    """Return an untrained model; raise InputError for a parameter that its class has not."""
    try:
        return cls(**parameters)
    except TypeError:
        raise InputError(f"a {cls.__name__} has not all of its parameters") from None
