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

import numpy as np

from fastadv.arrays import Arrays
from fastadv.errors import InputError

# What a damaged, encrypted or lying .npz makes NumPy and zipfile raise.
UNREADABLE = (
    OSError, EOFError, KeyError, ValueError, MemoryError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
_SAMPLE = 1 << 16  # bytes that tell whether the rest can be compressed


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
    """Open ``path`` for writing bytes; it appears, complete, when the block ends without error."""
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


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write a NumPy archive, compressed where that pays: of images; weights shrink hardly."""
    largest = max(arrays.values(), key=lambda array: array.nbytes)
    sample = np.ascontiguousarray(largest).tobytes()[:_SAMPLE]
    shrinks = len(zlib.compress(sample, level=1)) < 0.8 * len(sample)
    with atomic_write(path) as stream:
        (np.savez_compressed if shrinks else np.savez)(stream, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of a NumPy archive; raises one of `UNREADABLE` if it is none."""
    # Opened here: given a path, NumPy leaves a damaged file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
