"""What every picture in a file needs."""

from __future__ import annotations

from fastadv.errors import InputError


def check_pictures() -> None:
    """Raise InputError, in one line, unless pictures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            "pictures need matplotlib: pip install 'fastadv[plot]' (or leave out --output)"
        ) from None
