"""Reading what a model has saved: plain arrays in a NumPy archive, never code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.files import UNREADABLE

OBJECT_CLASSES = "classes of type object cannot be saved; train on numbers or plain text"


def parameters_text(parameters: dict[str, Any]) -> npt.NDArray[np.str_]:
    """Return a constructor's parameters as JSON, the numbers of NumPy as Python's."""
    return np.array(json.dumps(parameters, default=lambda value: value.tolist()))


@contextmanager
def opened(path: str | Path, expected: str) -> Iterator[Any]:
    """Open the archive of a saved model, such as ``an SVC``, to read its arrays in the block.

    Raises
    ------
    InputError
        If the file is absent, is another model's, or the block finds it to be of another form.
    """
    name = expected.rpartition(" ")[2]
    try:
        # Opened here: given a path, NumPy leaves a damaged file open.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["model"]) != name:
                raise InputError(f"{path} holds a {archive['model']}, expected {expected}")
            yield archive
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except InputError:
        raise
    except (*UNREADABLE, TypeError) as error:
        raise InputError(f"{path} is not a saved {name} ({error})") from None
