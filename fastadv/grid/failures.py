"""What a user reads of an exception that ended a stage, and whether it is a result at all."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from fastadv.errors import DivergenceError, InputError, printable

AGAIN = "the same command tries it again"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE)
_GONE = (errno.ENOENT, errno.ENOTDIR)


def message(error: BaseException) -> str:
    """Return one line: what is wrong, and that another try may help where it may."""
    text = printable(" ".join(str(error).split()))
    if text and isinstance(error, InputError | DivergenceError):
        return text  # it says by itself what is wrong
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # Of the machine, not of what was asked for: anything else would only fail again.
    return f"{said} ({AGAIN})" if isinstance(error, OSError | MemoryError) else said


def of_the_place(error: BaseException) -> str | None:
    """Return one line on a fault of the place, which is no result of a stage; None if it is none.

    No space, no right to a file, a disk that fails, a folder that has gone: every other stage would
    meet it, too. A file that is missing in a folder which is there is a fault of who wants it.
    """
    if not isinstance(error, OSError):
        return None
    path = Path(str(error.filename)) if error.filename is not None else None
    said = printable(error.strerror or " ".join(str(error).split()))
    if error.errno in _FULL:
        return f"{path.parent if path else _temporary()}: {said}; make room there"
    if error.errno in _REFUSED:
        return f"{path or _temporary()}: {said}"
    if error.errno in _GONE and (path is None or not path.parent.is_dir()):
        return f"{path.parent}: the folder has gone" if path else said
    return None


def _temporary() -> str:
    """Return the folder where a library writes that does not say where."""
    try:
        return f"{tempfile.gettempdir()} (TMPDIR), probably"
    except OSError as error:  # none that can be written to
        return str(error.strerror)
