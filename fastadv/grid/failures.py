"""What a user reads of an exception that ended a stage."""

from __future__ import annotations

from fastadv.errors import DivergenceError, InputError, printable

AGAIN = "the same command tries it again"


def message(error: BaseException) -> str:
    """Return one line: what is wrong, and that another try may help where it may."""
    text = printable(" ".join(str(error).split()))
    if text and isinstance(error, InputError | DivergenceError):
        return text  # it says by itself what is wrong
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # Of the machine, not of what was asked for: anything else would only fail again.
    return f"{said} ({AGAIN})" if isinstance(error, OSError | MemoryError) else said
