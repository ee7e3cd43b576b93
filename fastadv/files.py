"""Files are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fastadv.errors import InputError

# What a damaged, encrypted or lying .npz makes NumPy and zipfile raise.
UNREADABLE = (
    OSError, EOFError, KeyError, ValueError, MemoryError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises
    ------
    InputError
        If that cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path} ({error.strerror})") from None
    except ValueError:  # a null byte
        raise InputError(f"{str(path)!r} cannot be the name of a folder") from None


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing bytes; it appears, complete, when the block ends without error.

    What a link points to is replaced, not the link. A pipe or a device is written to as it is.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("wb") as stream:
            yield stream
        return
    if path.is_symlink():
        path = path.resolve()
    temporary = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # it names the temporary file
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise
