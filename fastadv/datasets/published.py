"""The public data sets that can be fetched: where their files are, and their checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import platformdirs

from fastadv.errors import InputError
from fastadv.files import in_home
from fastadv.specs import closest

FOLDER_VARIABLE = "FASTADV_DATA"


class File(NamedTuple):
    """A file as it was published.

    Attributes
    ----------
    name : str
    checksum : str
        ``sha256:...``, or ``md5:...`` where that is what there is.
    """

    name: str
    checksum: str


class Published(NamedTuple):
    """A public data set.

    Attributes
    ----------
    name : str
    files : tuple of File
    mirrors : tuple of str
        Addresses that the name of a file is put behind, the publisher's first.
    megabytes : int
        Of all files, about.
    """

    name: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    megabytes: int

    @property
    def n_bytes(self) -> int:
        """More bytes than all files have."""
        return (self.megabytes + 1) * 10**6

    def checksums(self) -> str:
        """Return those of all files: what the data are known by."""
        return " ".join(file.checksum for file in self.files)


_LIST = (
    Published(
        "fashion_mnist",
        (
            File("train-images-idx3-ubyte.gz", "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            File("train-labels-idx1-ubyte.gz", "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            File("t10k-images-idx3-ubyte.gz", "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            File("t10k-labels-idx1-ubyte.gz", "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        31,
    ),
    Published(
        "kmnist",
        (
            File("train-images-idx3-ubyte.gz", "sha256:51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            File("train-labels-idx1-ubyte.gz", "sha256:e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            File("t10k-images-idx3-ubyte.gz", "sha256:edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            File("t10k-labels-idx1-ubyte.gz", "sha256:20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        21,
    ),
    Published(
        "emnist",
        (File("gzip.zip", "sha256:fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"),),
        (
            "https://biometrics.nist.gov/cs_links/EMNIST/",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
        ),
        562,
    ),
    Published(
        "qmnist",
        (
            File("qmnist-train-images-idx3-ubyte.gz", "sha256:9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d"),
            File("qmnist-train-labels-idx2-int.gz", "sha256:2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f"),
            File("qmnist-test-images-idx3-ubyte.gz", "sha256:43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375"),
            File("qmnist-test-labels-idx2-int.gz", "sha256:9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06"),
        ),
        ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        20,
    ),
    Published(
        "usps",
        (
            File("usps.bz2", "md5:ec16c51db3855ca6c91edd34d0e9b197"),
            File("usps.t.bz2", "md5:8ea070ee2aca1ac39742fdd1ef5ed118"),
        ),
        ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",),
        9,
    ),
    Published(
        "cifar10",
        (File("cifar-10-binary.tar.gz", "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
        ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
        170,
    ),
)  # fmt: skip

PUBLISHED = {published.name: published for published in _LIST}


def find(name: str) -> Published:
    """Return a public data set by its name; raise InputError if there is none."""
    if name not in PUBLISHED:
        raise InputError(
            f"there is no {name!r} to fetch{closest(name, PUBLISHED)} (known: "
            f"{', '.join(PUBLISHED)})"
        )
    return PUBLISHED[name]


def data_folder() -> Path:
    """Return the folder of all that is fetched: ``FASTADV_DATA``, or one in the user's cache."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return in_home(chosen) if chosen else Path(platformdirs.user_cache_dir("fastadv"), "data")


def files_of(name: str) -> list[Path]:
    """Return the files of a data set that was fetched, or put there by hand.

    Raises
    ------
    InputError
        If one is not there, or has another checksum than the published one.
    """
    published, paths = find(name), []
    folder = data_folder() / name
    for file in published.files:
        path = folder / file.name
        if not path.is_file():
            raise InputError(
                f"{name} is not on this machine: fastadv data fetch {name} ({published.megabytes} MB); or "
                f"put {', '.join(file.name for file in published.files)} from "
                f"{published.mirrors[0]} into {folder}"
            )
        if not is_whole(path, file.checksum):
            raise InputError(
                f"{path}: found other data than were published, or a part of them; get it again: "
                f"fastadv data fetch {name}"
            )
        paths.append(path)
    return paths


def is_whole(path: Path, checksum: str) -> bool:
    """Return whether a file is there and has a checksum (``sha256:...``)."""
    if not path.is_file():
        return False
    kind, _, expected = checksum.partition(":")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, kind).hexdigest() == expected
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
