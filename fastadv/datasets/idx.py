"""IDX, the file format of MNIST.

An IDX file is a big-endian header and then the bytes of one array in C order. The header
is two zero bytes, a code for the dtype, the number of dimensions, and each dimension as an
unsigned 32-bit integer.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fastadv.archive import MOST_PACKED, fill
from fastadv.datasets.layout import Channels
from fastadv.datasets.memory import check_fits
from fastadv.datasets.sources import Source
from fastadv.errors import InputError
from fastadv.files import open_plain
from fastadv.specs import closest

Ints = npt.NDArray[Any]  # uint8, or int32
_Stream = IO[bytes] | gzip.GzipFile

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE, _INTEGER = 0x08, 0x0C
_OTHER_DTYPES = {
    0x09: "signed byte", 0x0B: "16-bit integer", 0x0D: "32-bit float", 0x0E: "64-bit float",
}  # fmt: skip
_QMNIST_COLUMNS = 8  # of its labels: the class, then who wrote the digit and where it is from

_FILE_NAME = re.compile(
    r"(?:(?P<prefix>.*)[-_.])?(?P<part>train|t10k|test)[-_](?P<kind>images|labels)"
    r"(?:[-.]idx\d(?:-(?:ubyte|int))?)?(?:\.idx)?(?:\.gz)?",
    re.IGNORECASE,
)
_USUAL_NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def read_idx(path: str | Path) -> Ints:
    """Read an IDX file of unsigned bytes or, labels alone, of integers; plain or gzipped.

    Parameters
    ----------
    path : str or Path
        Gzip is known by the first two bytes of the file, not by its name.

    Returns
    -------
    ndarray of uint8, shape (n,), (n, H, W) or (n, H, W, C); or of int32, shape (n,) or (n, m)

    Raises
    ------
    InputError
        If the file is absent, damaged, shorter or longer than its header says, or not such a file.
    """
    with _opened(path) as file:
        return _read(file, path)


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a file; raise InputError if it cannot be read."""
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: str | Path) -> Iterator[IO[bytes]]:
    try:
        with open_plain(Path(path)) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: found no such file, expected an IDX file") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}), expected an IDX file"
        ) from None


def parse_idx(data: bytes, path: str | Path) -> Ints:
    """Turn the bytes of a whole IDX file into an array, see `read_idx`; errors name the path."""
    return _read(io.BytesIO(data), path)


def _read(file: IO[bytes], path: str | Path) -> Ints:
    """Read the array of an open file; no more of it than its header says there is."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    if not zipped:
        return _read_array(file, path, size, exact=True)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _read_array(unpacked, path, MOST_PACKED * size, exact=False)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: found a truncated or corrupt gzip file ({error}), expected a whole one"
        ) from None


def _read_array(stream: _Stream, path: str | Path, size: int, *, exact: bool) -> Ints:
    """Read an array whose file has ``size`` bytes, unpacked; or, if not ``exact``, at most so many.

    Nothing is allocated that so many bytes could not fill.
    """
    dtype, shape = _parse_header(stream, path)
    expected, held = math.prod(shape) * dtype.itemsize, size - 4 - 4 * len(shape)
    wanted = f"expected {expected} for shape {'x'.join(map(str, shape))}"
    if held < expected:
        found = held if exact else f"at most {max(held, 0)}"
        raise InputError(f"{path}: the file is too short: found {found} bytes of data, {wanted}")
    if exact and held > expected:
        raise InputError(f"{path}: the file is too long: found {held} bytes of data, {wanted}")
    check_fits(path, expected)
    array: Ints = np.empty(shape, dtype)
    read = fill(array.reshape(-1), stream)
    if read < expected:
        raise InputError(f"{path}: the file is too short: found {read} bytes of data, {wanted}")
    if stream.read(1):  # of a gzip file this looks at its checksum, too
        raise InputError(f"{path}: the file is too long: found more bytes of data, {wanted}")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_header(stream: _Stream, path: str | Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    data = stream.read(4)
    if len(data) < 4:
        raise InputError(
            f"{path}: the file is too short: found {len(data)} bytes, expected an IDX header"
        )
    zeros, dtype, n_dims = struct.unpack(">HBB", data[:4])
    if zeros != 0:
        raise InputError(
            f"{path}: found magic number 0x{data[:4].hex()}, expected 0x00000801 (labels), "
            "0x00000803 or 0x00000804 (images)"
        )
    if dtype not in (_UNSIGNED_BYTE, _INTEGER):
        name = _OTHER_DTYPES.get(dtype, "unknown")
        raise InputError(
            f"{path}: found dtype code 0x{dtype:02x} ({name}), expected 0x08 (unsigned byte)"
        )
    if dtype == _INTEGER and n_dims not in (1, 2):
        raise InputError(
            f"{path}: found 32-bit integers in {n_dims} dimensions, expected unsigned bytes, or "
            "labels in 1 or 2"
        )
    if dtype == _UNSIGNED_BYTE and n_dims not in (1, 3, 4):
        raise InputError(f"{path}: found {n_dims} dimensions, expected 1 (labels), 3 or 4 (images)")
    data += stream.read(4 * n_dims)
    if len(data) < 4 + 4 * n_dims:
        raise InputError(
            f"{path}: the file is too short: found {len(data)} bytes, "
            f"expected a header of {4 + 4 * n_dims}"
        )
    shape = struct.unpack(f">{n_dims}I", data[4 : 4 + 4 * n_dims])
    return np.dtype(">i4" if dtype == _INTEGER else np.uint8), shape


def find_idx_files(folder: Path, prefix: str | None = None) -> dict[tuple[str, str], Path]:
    """Find the four IDX files of a dataset by their names.

    Parameters
    ----------
    folder : Path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and the same with ``t10k``
        or ``test``; ``.gz`` may follow, a prefix may come before (``emnist-digits-train-...``), and
        ``.idx3-ubyte`` does as well. Labels may be ``idx2-int``, as QMNIST's are.
    prefix : str or None
        Of the files that are meant, where those of several datasets lie side by side; ``none``
        for files without one.

    Returns
    -------
    dict of Path
        By ("train" or "test", "images" or "labels"); of a file that is there plain and gzipped the
        plain one.

    Raises
    ------
    InputError
        If a file is missing, or two could be meant.
    """
    candidates: dict[tuple[str, str], dict[Path, str]] = {role: {} for role in _USUAL_NAMES}
    for path in sorted(folder.iterdir()):
        match = _FILE_NAME.fullmatch(path.name)
        if match and not path.is_dir():  # what is no file is named when it is read
            part = "train" if match["part"].lower() == "train" else "test"
            candidates[part, match["kind"].lower()][path] = match["prefix"] or "none"
    known = sorted({name for paths in candidates.values() for name in paths.values()})
    if prefix is not None and prefix not in known:
        raise InputError(
            f"{folder}: no IDX file with prefix={prefix}{closest(prefix, known)} "
            f"(there are: {', '.join(known) or 'none at all'})"
        )
    found: dict[tuple[str, str], list[Path]] = {}
    for role, paths in candidates.items():
        wanted = [path for path, name in paths.items() if prefix in (None, name)]
        found[role] = [path for path in wanted if _without_gz(path) not in wanted]
    return _one_each(folder, found, known)


def _without_gz(path: Path) -> Path | None:
    return path.with_suffix("") if path.suffix.lower() == ".gz" else None


def _one_each(
    folder: Path, found: dict[tuple[str, str], list[Path]], prefixes: list[str]
) -> dict[tuple[str, str], Path]:
    """Return the one file of each role."""
    for (part, kind), paths in found.items():
        if len(paths) > 1 and len(prefixes) > 1:
            raise InputError(
                f"{folder}: found files of {', '.join(prefixes)}; say which in brackets: "
                f"[prefix={prefixes[0]}]"
            )
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise InputError(f"{folder}: found {names}, expected only one file of {part} {kind}")
    missing = [
        f"{part} {kind} ({_USUAL_NAMES[part, kind]} or the same with .gz)"
        for (part, kind), paths in found.items()
        if not paths
    ]
    if missing:
        names = ", ".join(path.name for paths in found.values() for path in paths)
        raise InputError(
            f"{folder}: found {names or 'no IDX file'}, expected four files; "
            f"missing: {', '.join(missing)}{'' if names else _further_in(folder)}"
        )
    return {role: paths[0] for role, paths in found.items()}


def _further_in(folder: Path) -> str:
    """Return which folders of this one have IDX files, as where torchvision has several sets."""
    inner = [
        path
        for path in sorted(folder.iterdir())
        if any(_FILE_NAME.fullmatch(file.name) for file in (*path.glob("*"), *path.glob("raw/*")))
    ]
    return f" (did you mean {inner[0]}?)" if inner else ""


def reads(path: Path) -> bool:
    """Return whether the path is a folder."""
    return path.is_dir()


def read_idx_folder(
    path: Path,
    /,
    *,
    channels: Channels | None = None,
    range: float | None = None,
    prefix: str = "",
) -> Source:
    """Read the four files that `find_idx_files` finds, in the folder or its subfolder ``raw``.

    Parameters
    ----------
    channels : {"first", "last"} or None
        Where the channels of an image are, if its shape does not say so.
    range : float or None
        The value of white, if it is not 255.
    prefix : str
        Of the files, where a folder holds those of several data sets (emnist-letters); none for
        files without one.

    Raises
    ------
    InputError
        If a file is missing or damaged, or one that is there plain and gzipped holds something else
        in either.
    """
    return Source.of(
        read_idx_arrays(path, prefix or None), str(path), channels=channels, white=range
    )


def read_idx_arrays(folder: Path, prefix: str | None) -> dict[str, Ints]:
    """Return the arrays as they are in the files; of QMNIST's labels the class alone."""
    raw = folder / "raw"  # where torchvision keeps the files that it has fetched
    if raw.is_dir() and not any(_FILE_NAME.fullmatch(path.name) for path in folder.iterdir()):
        folder = raw
    arrays = {}
    for (part, kind), path in find_idx_files(folder, prefix).items():
        array, twin = read_idx(path), path.with_name(f"{path.name}.gz")
        if twin.is_file() and not np.array_equal(array, read_idx(twin)):
            raise InputError(f"{path}: found other data in {twin.name}, expected the same")
        if kind == "labels" and array.ndim == 2:
            if array.shape[1] != _QMNIST_COLUMNS:
                raise InputError(
                    f"{path}: found shape {array.shape}, expected (n,), or (n, {_QMNIST_COLUMNS}) "
                    "as QMNIST's labels are, the class first"
                )
            array = np.ascontiguousarray(array[:, 0])
        arrays[f"{'x' if kind == 'images' else 'y'}_{part}"] = array
    return arrays
