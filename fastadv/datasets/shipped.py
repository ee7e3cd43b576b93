"""The MNIST files that ship with the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from fastadv.datasets.idx import parse_idx, read_bytes
from fastadv.datasets.parts import KEYS
from fastadv.datasets.sources import Source
from fastadv.errors import InputError

# Of the files as they are shipped, gzipped.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971"
    ),
    "train-labels-idx1-ubyte.gz": (
        "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203"
    ),
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}


class FileCheck(NamedTuple):
    """Whether a shipped file is what it has to be; ``found`` is None where there is no file."""

    path: Path
    ok: bool
    found: str | None
    expected: str


def mnist_folder() -> Path:
    """Return the folder of the MNIST files that ship with the package."""
    return Path(__file__).parent / "mnist"


def verify_mnist() -> list[FileCheck]:
    """Compare the SHA-256 of each shipped MNIST file with the one that it has to have."""
    checks = []
    for name, expected in MNIST_SHA256.items():
        path = mnist_folder() / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        checks.append(FileCheck(path, found == expected, found, expected))
    return checks


def read_mnist() -> Source:
    """Read the MNIST files that ship with the package.

    Raises
    ------
    InputError
        If a file is absent or its SHA-256 is not the one that it has to have.
    """
    arrays = {}
    for key, (name, expected) in zip(KEYS, MNIST_SHA256.items(), strict=True):
        path = mnist_folder() / name
        data = read_bytes(path)
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise InputError(
                f"{path}: found SHA-256 {found}, expected {expected}; install fastadv again"
            )
        arrays[key] = parse_idx(data, path)
    known_hash = "".join(MNIST_SHA256.values())
    return Source.of(arrays, str(mnist_folder()), known_hash=known_hash)
