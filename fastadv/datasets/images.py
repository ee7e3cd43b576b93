"""A folder of pictures, one folder a class; needs Pillow."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.datasets.memory import check_fits
from fastadv.datasets.sources import Source
from fastadv.errors import InputError, brief

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
)
_PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_CHANNELS = {"1": 1, "L": 1, "RGB": 3}
_COLOURS = {1: "grey", 3: "in colours"}
_OTHER_MODES = {
    "P": "has a palette", "PA": "has a palette", "RGBA": "has opacity", "LA": "has opacity",
    "CMYK": "is in CMYK", "F": "holds floats",
}  # fmt: skip
_ROOM, _MOST_PACKED = 4 << 20, 2000  # pixels of any file, and of each of its bytes


class _Picture(NamedTuple):
    path: Path
    label: str


class _Form(NamedTuple):
    """What the first picture is like, and all others have to be."""

    path: Path
    mode: str
    width: int
    height: int


def reads(path: Path) -> bool:
    """Return whether a folder has folders of pictures, or one for training that has."""
    if not path.is_dir():
        return False
    root = _part_of(path, "train") or path
    return any(_is_picture(file) for folder in _folders(root) for file in folder.iterdir())


def read_images(path: Path, /) -> Source:
    """Read CLASS/FILE, or train/CLASS/FILE and, if they are there, test/CLASS/FILE and val/...

    The classes come in the order of their names (numbers by value), the files of each as well.
    Without a folder ``test`` one picture in five is drawn for tests.

    Raises
    ------
    InputError
        If Pillow is not there, a file is damaged, or the pictures are not all grey or all of
        colours, 8 bits a channel, and of one size.
    """
    roots = {part: root for part in _PARTS if (root := _part_of(path, part)) is not None}
    if "train" not in roots:
        roots = {"train": path}
    arrays: dict[str, npt.NDArray[Any]] = {}
    left_out: list[str] = []
    form: _Form | None = None
    for part, root in roots.items():
        pictures = _pictures(root, left_out)
        form = form or _look(pictures[0].path)
        arrays[f"x_{part}"] = _pixels(pictures, form, path)
        arrays[f"y_{part}"] = np.array([picture.label for picture in pictures])
    notes = []
    if left_out:
        found = left_out[0] if len(left_out) == 1 else f"{len(left_out):,}, {left_out[0]} first"
        notes.append(f"files that are no pictures were left out: {found}")
    return Source.of(arrays, str(path), channels="last", notes=tuple(notes))


def _part_of(path: Path, part: str) -> Path | None:
    folders = (folder for folder in _folders(path) if folder.name.lower() in _PARTS[part])
    return next(folders, None)


def _folders(path: Path) -> list[Path]:
    """Return the folders in one, those of numbers by value."""
    folders = [inner for inner in path.iterdir() if inner.is_dir() and inner.name[0] != "."]

    def place(folder: Path) -> tuple[int, str]:
        return int(folder.name) if folder.name.isdecimal() else sys.maxsize, folder.name

    return sorted(folders, key=place)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def _pictures(root: Path, left_out: list[str]) -> list[_Picture]:
    """Return all pictures of a part, class by class."""
    pictures = []
    for folder in _folders(root):
        files = sorted(file for file in folder.iterdir() if file.name[0] != ".")
        found = [file for file in files if _is_picture(file)]
        left_out += [f"{folder.name}/{file.name}" for file in files if not _is_picture(file)]
        if not found:
            raise InputError(
                f"{folder}: found no picture of class {folder.name!r}; fill the folder, or remove "
                f"it (pictures are {', '.join(sorted(SUFFIXES))})"
            )
        pictures += [_Picture(file, folder.name) for file in found]
    if not pictures:
        raise InputError(f"{root}: found no folder of pictures, expected one for each class")
    return pictures


def _look(path: Path) -> _Form:
    """Return what a picture is like; its pixels are not read."""
    try:
        from PIL import Image
    except ImportError:
        raise InputError(f"{path}: pictures need Pillow: pip install pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                _check_mode(path, picture.mode)
                _check_size(path, math.prod(picture.size))
                return _Form(path, picture.mode, *picture.size)
    except InputError:
        raise
    except Exception as error:  # what a damaged file makes Pillow raise is of many kinds
        raise _unreadable(path, error) from None


def _pixels(pictures: list[_Picture], form: _Form, where: Path) -> npt.NDArray[np.uint8]:
    """Return pictures (n, H, W, C)."""
    from PIL import Image

    shape = (len(pictures), form.height, form.width, _CHANNELS[form.mode])
    check_fits(where, 5 * math.prod(shape))  # as bytes, and as floats
    pixels = np.empty(shape, dtype=np.uint8)
    for i, (path, _) in enumerate(pictures):
        try:
            with Image.open(path) as picture:
                _check_form(path, picture, form)
                grey = picture.convert("L") if picture.mode == "1" else picture
                pixels[i] = np.asarray(grey).reshape(shape[1:])
        except InputError:
            raise
        except Exception as error:
            raise _unreadable(path, error) from None
    return pixels


def _check_form(path: Path, picture: Any, form: _Form) -> None:
    """Raise InputError for a picture that is not like the first one."""
    _check_mode(path, picture.mode)
    if picture.size != (form.width, form.height):
        raise InputError(
            f"{path} is of {picture.width} x {picture.height} pixels and {form.path} of "
            f"{form.width} x {form.height}; bring all to one size"
        )
    n, n_first = _CHANNELS[picture.mode], _CHANNELS[form.mode]
    if n != n_first:
        raise InputError(
            f"{path} is {_COLOURS[n]} and {form.path} {_COLOURS[n_first]}; convert all to either"
        )
    if getattr(picture, "n_frames", 1) > 1:
        raise InputError(f"{path} holds {picture.n_frames} pictures; make a file of each")


def _check_size(path: Path, n_pixels: int) -> None:
    """Raise InputError for a picture that unpacks to far more than pictures do.

    Its header alone could be of hundreds of megabytes, which Pillow would hold before it finds that
    they are not there.
    """
    packed = path.stat().st_size
    if n_pixels > max(_ROOM, _MOST_PACKED * packed):
        raise InputError(
            f"{path}: its header says {n_pixels:,} pixels, and the file has {packed:,} bytes; "
            "expected a picture"
        )


def _check_mode(path: Path, mode: str) -> None:
    if mode in _CHANNELS:
        return
    sixteen = mode.startswith("I;16") or mode == "I"
    found = "has 16 bits a channel" if sixteen else _OTHER_MODES.get(mode, f"is of mode {mode}")
    raise InputError(
        f"{path} {found}; save it as 8 bits of grey or of red, green and blue "
        '(Pillow: image.convert("L") or image.convert("RGB"))'
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).replace(f" '{path}'", "")
    return InputError(f"{path}: cannot be read as a picture ({brief(reason)})")
