"""A trained model from the command line: a file of ours, or a factory, which is code.

No pickle is ever opened: it runs code where nobody looks for any.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from fastadv import registry
from fastadv.arrays import read_arrays
from fastadv.errors import InputError
from fastadv.files import UNREADABLE
from fastadv.task import Task

_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill", ".p", ".h5", ".keras")
_LATER = (".onnx", ".skops", ".safetensors")

FORMS = "FILE.npz (fastadv's own), FILE.py:FACTORY or PACKAGE.MODULE:FACTORY"


def is_source(text: str) -> bool:
    """Return whether a text is meant as a model that is there, and not as the spec of one."""
    name = text.partition("[")[0].strip()
    if registry.knows("model", name):
        return False
    return ":" in text or Path(text).suffix in (".npz", ".py", *_PICKLES, *_LATER)


def check_source(text: str) -> None:
    """Raise InputError if a text can be no source, without running or reading anything."""
    path, colon, factory = text.rpartition(":")
    suffix = Path(text if not colon else path).suffix
    if not colon and suffix in _PICKLES:
        raise InputError(
            f"{text} may be a pickle, which runs code when it is opened, and is not: write a "
            "factory that loads it, and give FILE.py:FACTORY"
        )
    if not colon and suffix in _LATER:
        raise InputError(
            f"{suffix[1:]} files are not read yet ({text}): write a factory that loads it, and "
            "give FILE.py:FACTORY"
        )
    if not colon and suffix == ".py":
        raise InputError(f"{text} has no factory: give {text}:NAME, a function of it")
    if colon and not factory.isidentifier():
        raise InputError(f"{text!r} is no model; give {FORMS}, or a name of fastadv list models")
    file = path if colon else text
    if suffix in (".py", ".npz") and not Path(file).expanduser().is_file():
        raise InputError(f"there is no file {file}")


def load(text: str, task: Task) -> Any:
    """Return the model that a text stands for; what a factory returns is not looked at.

    Raises
    ------
    InputError
        If there is none, or it fails.
    """
    check_source(text)
    path, colon, name = text.rpartition(":")
    if not colon:
        return _saved(Path(text).expanduser())
    factory = _factory(path, name)
    try:
        return factory(task)
    except InputError:
        raise
    except Exception as error:  # of any code
        raise InputError(f"{text} fails: {_said(error)}") from None


def _saved(path: Path) -> Any:
    """Return a model that fastadv has saved, of the class that is named in the file."""
    try:
        kind = str(read_arrays(path)["model"])
    except UNREADABLE as error:
        raise InputError(f"{path} is no model that fastadv has saved ({_said(error)})") from None
    for entry in registry.entries("model"):
        cls = entry.load()
        if cls.__name__ == kind:
            return cls.load(path)
    raise InputError(f"{path} holds a {kind}, which is no model of fastadv")


def _factory(path: str, name: str) -> Callable[[Task], Any]:
    try:
        is_file = path.endswith(".py")
        module = _module_of(Path(path).expanduser()) if is_file else importlib.import_module(path)
    except Exception as error:  # of any code
        raise InputError(f"{path} cannot be imported: {_said(error)}") from None
    found = vars(module).get(name)
    if not callable(found):
        own = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise InputError(f"{path} has no function {name} (it has {', '.join(own) or 'none'})")
    factory: Callable[[Task], Any] = found
    return factory


def _module_of(path: Path) -> ModuleType:
    """Return what a file defines, run anew each time; modules beside it can be imported."""
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()
    name = f"fastadv_factory_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".removesuffix(": ")
