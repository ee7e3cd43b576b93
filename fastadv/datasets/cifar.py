"""CIFAR-10's binary version: a byte of the label, then 3 x 32 x 32 bytes, for each picture."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.datasets.sources import Source
from fastadv.errors import InputError, brief
from fastadv.files import open_plain

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
ARCHIVE = "cifar-10-binary.tar.gz"

_FOLDER = "cifar-10-batches-bin"
_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = "test_batch.bin"
_RECORD = 1 + 3 * 32 * 32
_LARGEST = 10_000 * _RECORD  # of a file
_PICKLES = ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1")


def reads(path: Path) -> bool:
    """Return whether a folder has CIFAR-10's files, or those of the version for Python."""
    names = (_FOLDER, ARCHIVE, _TRAIN[0], _TEST, *_PICKLES)
    return path.is_dir() and any((path / name).exists() for name in names)


def read_cifar_folder(path: Path, /) -> Source:
    """Read CIFAR-10's binary version, unpacked or as ``cifar-10-binary.tar.gz``.

    Raises
    ------
    InputError
        If a file is missing or damaged; or it is the version for Python, which is pickles.
    """
    if (path / ARCHIVE).is_file():
        return read_archive(path / ARCHIVE)
    folder = path / _FOLDER if (path / _FOLDER).is_dir() else path
    if not any((folder / name).exists() for name in (*_TRAIN, _TEST)):
        raise InputError(
            f"{path}: found CIFAR-10 as pickles, which can run any program when they are read, and "
            "are not read; get the binary version: fastadv data fetch cifar10 (or unpack "
            f"{ARCHIVE} there)"
        )

    files: dict[str, bytes] = {}
    for name in (*_TRAIN, _TEST):
        try:
            with open_plain(folder / name) as file:
                files[name] = file.read(_LARGEST + 1)
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read ({error.strerror})") from None
    return _read(folder, files)


def read_archive(path: Path, known_hash: str = "") -> Source:
    """Read ``cifar-10-binary.tar.gz``."""
    try:
        with (
            open_plain(path) as file,
            gzip.open(file) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r:") as archive,
        ):
            wanted = {f"{_FOLDER}/{name}": name for name in (*_TRAIN, _TEST)}
            found: dict[str, bytes] = {}
            for member in archive:  # in the order of the archive: it is unpacked once
                if member.name in wanted and member.isfile():
                    stream = archive.extractfile(member)
                    found[wanted[member.name]] = stream.read(_LARGEST + 1) if stream else b""
            while unpacked.read(1 << 20):  # the checksum comes at the end
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot be read ({brief(error)}), expected {ARCHIVE}") from None
    missing = [name for name in (*_TRAIN, _TEST) if name not in found]
    if missing:
        raise InputError(f"{path}: found no {_FOLDER}/{missing[0]} in it, expected {ARCHIVE}")
    return _read(path, found, known_hash)


def _read(where: Path, files: Mapping[str, bytes], known_hash: str = "") -> Source:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part, names in (("train", _TRAIN), ("test", (_TEST,))):
        records = []
        for name in names:
            n_bytes = len(files[name])
            if not n_bytes or n_bytes % _RECORD or n_bytes > _LARGEST:
                found = f"more than {_LARGEST:,}" if n_bytes > _LARGEST else f"{n_bytes:,}"
                raise InputError(
                    f"{where}: {name} has {found} bytes, expected a multiple of {_RECORD:,}"
                )
            records.append(np.frombuffer(files[name], dtype=np.uint8).reshape(-1, _RECORD))
        both = np.concatenate(records)
        labels = both[:, 0].astype(np.int64)
        if labels.max() >= len(CLASSES):
            raise InputError(f"{where}: found the label {labels.max()}, expected 0 to 9")
        arrays[f"x_{part}"], arrays[f"y_{part}"] = both[:, 1:].reshape(-1, 3, 32, 32), labels
    return Source.of(
        arrays, str(where), channels="first", class_names=CLASSES, known_hash=known_hash
    )
