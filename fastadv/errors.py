"""What a user can meet: two errors and a warning, each in one line that says what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Something from outside (a flag, a spec, a file, an array) is not what it has to be."""


class DivergenceError(RuntimeError):
    """Training ran to infinity or NaN, so that there is no model to speak of."""


class GradientWarning(UserWarning):
    """The gradients of a model are zero or mislead: attacks that use them say nothing of it."""


def require(condition: bool, what: str, value: object) -> None:
    """Raise InputError ``what, got value`` unless the condition holds."""
    if not condition:
        raise InputError(f"{what}, got {value}")


def at_least(least: float, **values: float | None) -> None:
    """Raise InputError for a value, given by its name, that is below ``least``; None is none."""
    for name, value in values.items():
        require(value is None or value >= least, f"{name} has to be at least {least}", value)
