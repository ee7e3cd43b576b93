"""The types of arrays, and arrays in a file."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.archive import Archive
from fastadv.files import atomic_write, open_plain

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.uint64]
Arrays = dict[str, npt.NDArray[Any]]

_SAMPLE = 1 << 16  # bytes that tell whether the rest can be compressed
_ROOM, _TIMES = 1 << 30, 100  # what an archive may unpack to: bytes, and times its own


def write_arrays(path: Path, arrays: Arrays, *, follow: bool = True, durable: bool = True) -> None:
    """Write a NumPy archive, compressed where that pays: of images; weights shrink hardly.

    ``follow``, ``durable``: see `fastadv.files.atomic_write`.
    """
    largest = max(arrays.values(), key=lambda array: array.nbytes)
    sample = largest.ravel()[: _SAMPLE // max(1, largest.itemsize)].tobytes()
    shrinks = len(zlib.compress(sample, level=1)) < 0.8 * len(sample)
    with atomic_write(path, follow=follow, durable=durable) as stream:
        (np.savez_compressed if shrinks else np.savez)(stream, allow_pickle=False, **arrays)


def read_arrays(path: Path, without: Collection[str] = ()) -> Arrays:
    """Return the arrays of a NumPy archive; one of `files.UNREADABLE` is raised if it is none.

    Those of the names ``without`` are not read. The error is raised, too, if the archive says that
    it unpacks to more than a hundred times its size and a gibibyte.
    """
    with open_plain(path) as file:
        archive = Archive(file)
        if archive.size > _ROOM + _TIMES * archive.packed:
            raise ValueError(
                f"it unpacks to {archive.size:,} bytes, which is too many for one of its size"
            )
        return {name: archive.read(name) for name in archive.names if name not in without}
