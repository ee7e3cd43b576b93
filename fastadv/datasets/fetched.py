"""Public data sets out of the files that ``fastadv data fetch`` has brought."""

from __future__ import annotations

import string
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from fastadv.datasets.cifar import read_archive
from fastadv.datasets.idx import parse_idx, read_idx_arrays
from fastadv.datasets.published import PUBLISHED, files_of
from fastadv.datasets.sources import Source
from fastadv.datasets.usps import read_usps_files
from fastadv.errors import InputError, brief

Subset = Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"]

_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_CAPITALS = tuple(string.digits + string.ascii_uppercase)
_EMNIST_CLASSES: dict[str, tuple[str, ...]] = {
    "byclass": (*_CAPITALS, *string.ascii_lowercase),
    "bymerge": (*_CAPITALS, *"abdefghnqrt"),  # small letters that differ from their capitals
    "balanced": (*_CAPITALS, *"abdefghnqrt"),
    "letters": ("", *string.ascii_lowercase),  # labels begin at 1
    "digits": tuple(string.digits),
    "mnist": tuple(string.digits),
}


def read_fashion_mnist() -> Source:
    """Read Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28 x 28 grey clothes of ten kinds."""
    return _read_idx("fashion_mnist", _CLOTHES)


def read_kmnist() -> Source:
    """Read Kuzushiji-MNIST (Clanuwat et al., 2018): 28 x 28 grey hiragana of ten kinds."""
    return _read_idx("kmnist", _KANA)


def read_qmnist() -> Source:
    """Read QMNIST (Yadav and Bottou, 2019): MNIST made again, with 60,000 images for tests."""
    return _read_idx("qmnist")


def read_emnist(*, subset: Subset = "balanced") -> Source:
    """Read EMNIST (Cohen et al., 2017): 28 x 28 grey letters and digits.

    Rows and columns of an image are exchanged, as in the publisher's files.

    Parameters
    ----------
    subset : {"balanced", "byclass", "bymerge", "digits", "letters", "mnist"}
        Which of its six data sets.
    """
    (path,) = files_of("emnist")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part in ("train", "test"):
        for letter, kind in (("x", "images-idx3"), ("y", "labels-idx1")):
            member = f"gzip/emnist-{subset}-{part}-{kind}-ubyte.gz"
            arrays[f"{letter}_{part}"] = parse_idx(_member(path, member), f"{path}: {member}")
    return Source.of(
        arrays,
        "emnist",
        class_names=_EMNIST_CLASSES[subset],
        notes=("rows and columns of an image are exchanged, as in the publisher's files",),
        known_hash=f"{PUBLISHED['emnist'].checksums()} {subset}",
    )


def read_usps() -> Source:
    """Read USPS (Hull, 1994): 16 x 16 grey digits of envelopes, 7,291 and 2,007 for tests."""
    train, test = files_of("usps")
    return read_usps_files(train, test, known_hash=PUBLISHED["usps"].checksums())


def read_cifar10() -> Source:
    """Read CIFAR-10 (Krizhevsky, 2009): 32 x 32 pictures in colours, of ten kinds."""
    (path,) = files_of("cifar10")
    return read_archive(path, known_hash=PUBLISHED["cifar10"].checksums())


def _read_idx(name: str, class_names: tuple[str, ...] = ()) -> Source:
    folder = files_of(name)[0].parent
    known_hash = PUBLISHED[name].checksums()
    return Source.of(
        read_idx_arrays(folder, None), name, class_names=class_names, known_hash=known_hash
    )


def _member(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: {name} cannot be read ({brief(error)})") from None
