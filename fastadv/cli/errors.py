"""What ends a command, and the line and the exit code that a user gets for it."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import typer

from fastadv.errors import DivergenceError, InputError, brief
from fastadv.specs import closest

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

# typer carries click inside it or depends on it, by its version; this is the class in both cases.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Stopped(Exception):
    """Ctrl-C, with a line on what is kept and how to go on."""


def explain(error: Exception, given: Sequence[str]) -> tuple[str, int]:
    """Return the line for ``error`` and the exit code; ``given`` are the program's arguments."""
    if isinstance(error, Stopped):
        return str(error), INTERRUPTED
    if isinstance(error, InputError):
        return str(error), USAGE
    if isinstance(error, UsageError):
        return _explain_usage(error, given), USAGE
    if isinstance(error, DivergenceError):
        return str(error), FAILED
    if isinstance(error, OSError):  # without its number
        said = error.strerror or str(error)
        if error.errno == errno.ENAMETOOLONG:  # what was given is wrong, and not the place
            return f"{brief(error.filename)}: {said}", USAGE
        return f"{error.filename}: {said}" if error.filename else said, FAILED
    text = str(error)
    name = type(error).__name__ + (f": {text}" if text else "")
    return f"{name} (run with --debug for the traceback)", FAILED


def _explain_usage(error: Exception, given: Sequence[str]) -> str:
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    # Without a context it is an option of a command that lacks its value.
    name = next((word for word in given if not word.startswith("-")), "")
    command = context.command_path if context else f"fastadv {name}"
    option = getattr(error, "option_name", None)
    if option and "No such option" in text:
        known = [name for param in context.command.params for name in param.opts] if context else []
        text = f"no option {option}{closest(option, known) or '.'}"
    text = text.replace("Value error, ", "")  # pydantic's
    end = "" if text.endswith((".", "?")) else "."
    return f"{text}{end} See {command} --help"
