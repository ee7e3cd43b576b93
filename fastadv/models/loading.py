"""A trained model from a file, or from a factory.

No pickle is ever opened: it runs code where nobody looks for any.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from fastadv import registry
from fastadv.errors import InputError, brief
from fastadv.files import UNREADABLE, in_home, is_file
from fastadv.models.saved import read_saved
from fastadv.sources import FILES, check_source
from fastadv.task import Task

# What code of a user may raise; a script ends by SystemExit where it reads its own arguments.
_ANY = (Exception, SystemExit)


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
        return from_file(in_home(text))
    factory = _factory(path, name)
    try:
        with redirect_stdout(sys.stderr):  # results are alone on standard output
            made = factory(task)
    except InputError:
        raise
    except _ANY as error:
        raise InputError(f"{text} fails: {_said(error)}") from None
    if made is None:
        raise InputError(f"{text} returns nothing; it has to return a model")
    return made


def from_file(path: Path) -> Any:
    """Return what a file holds, by the reader of its kind; of another kind InputError is raised."""
    suffix = path.suffix.lower()
    if suffix not in FILES:
        raise InputError(f"{path} is no model file; it has to end in {', '.join(FILES)}")
    if not is_file(path):
        raise InputError(f"there is no file {path}")
    module, _, reader = FILES[suffix].partition(":")
    return getattr(importlib.import_module(module), reader)(path)


def saved(path: Path) -> Any:
    """Return a model that fastadv has saved, of the class that is named in the file."""
    try:
        kind = brief(read_saved(path)["model"])
    except InputError:  # which is one of those that follow
        raise
    except UNREADABLE:
        raise InputError(f"{path} is no model that fastadv has saved") from None
    for entry in registry.entries("model"):
        cls = entry.load()
        if cls.__name__ == kind:
            return cls.load(path)
    raise InputError(f"{path} holds a {kind}, which is no model of fastadv")


def _factory(path: str, name: str) -> Callable[[Task], Any]:
    try:
        is_file = path.endswith(".py")
        with redirect_stdout(sys.stderr):
            module = _module_of(in_home(path)) if is_file else importlib.import_module(path)
    except _ANY as error:
        raise InputError(f"{path} cannot be imported: {_said(error)}") from None
    found = vars(module).get(name)
    if not callable(found):
        own = [key for key, value in vars(module).items() if inspect.isfunction(value)]
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


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".removesuffix(": ")
