"""What a user can meet: two errors and a warning, each in one line that says what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_BRIEF = 160  # characters


class InputError(ValueError):
    """Something from outside (a flag, a spec, a file, an array) is not what it has to be.

    Its message is one line, whatever names stand in it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(" ".join(str(message).splitlines()))


class DivergenceError(RuntimeError):
    """Training ran to infinity or NaN, so that there is no model to speak of."""


class GradientWarning(UserWarning):
    """The gradients of a model are zero or mislead: attacks that use them say nothing of it."""


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Show each warning once, as a line of the program's own, without the source that gave it."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            print(f"fastadv: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def printable(text: str) -> str:
    """Return a text that any file takes, with ? for bytes in names of files that are not UTF-8."""
    return text.encode(errors="replace").decode()


def brief(error: object) -> str:
    """Return what an error of another library says, in one line that can be read."""
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


def require(condition: bool, what: str, value: object) -> None:
    """Raise InputError ``what, got value`` unless the condition holds."""
    if not condition:
        raise InputError(f"{what}, got {value}")


def refuse(reason: str | None) -> None:
    """Raise InputError with the reason, if there is one."""
    if reason:
        raise InputError(reason)


def at_least(least: float, **values: float | None) -> None:
    """Raise InputError for a value, given by its name, that is below ``least``; None is none."""
    for name, value in values.items():
        require(value is None or value >= least, f"{name} has to be at least {least}", value)
