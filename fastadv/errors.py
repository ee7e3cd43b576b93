"""The two errors that a user can meet; each message is one line that says what would be right."""

from __future__ import annotations


class InputError(ValueError):
    """Something from outside (a flag, a spec, a file, an array) is not what it has to be."""


class DivergenceError(RuntimeError):
    """Training ran to infinity or NaN, so that there is no model to speak of."""
