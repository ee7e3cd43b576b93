"""NumPy's archives, read without trust in what they say of themselves.

The header of an array is Python source, and NumPy parses it as such: it can take seconds, raise
what nobody expects, or promise an array that no file holds. Here a header is what NumPy writes, or
refused, and nothing is allocated that the bytes of the file could not fill.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

MOST_PACKED = 1032  # times the size of what is packed, at most: what deflate can reach

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # bytes; NumPy's own limit
_LONGEST_SIDE = 2**40
_PIECE = 1 << 18  # bytes
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CODE_POINTS = 0x110000

_ITEM = (
    r"'descr'\s*:\s*'(?P<descr>[<>|=]?[?biufcSUmMV]\d{0,10}(?:\[\d*[a-zA-Z]{1,2}\])?)'",
    r"'fortran_order'\s*:\s*(?P<fortran>True|False)",
    r"'shape'\s*:\s*\((?P<shape>\s*(?:\d{1,19}L?\s*,\s*)*(?:\d{1,19}L?\s*)?)\)",
)
_ITEMS = tuple(map(re.compile, _ITEM))
_FIELD = r"\('\w*', '[<>|=]?[biufV](\d{1,4})'\)"
_RECORD = re.compile(rf"\[(?:{_FIELD}(?:, )?)+\]")


class Archive:
    """The arrays of a ``.npz`` by their names.

    Parameters
    ----------
    file : binary file
        Open for reading; it has to stay open.

    Attributes
    ----------
    names : list of str
    packed, size : int
        Bytes of the file, and of all that it says it holds.

    Raises
    ------
    Exception
        One of `fastadv.files.UNREADABLE` if it is no archive, or says that it holds what it cannot.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.packed = file.seek(0, os.SEEK_END)
        self._zip = zipfile.ZipFile(file)
        members = self._zip.infolist()
        self._members = {info.filename.removesuffix(".npy"): info for info in members}
        self.names = list(self._members)
        self.size = sum(info.file_size for info in members)
        if self.size > MOST_PACKED * self.packed:
            raise ValueError(f"it claims {self.size:,} bytes, which cannot be in {self.packed:,}")

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return an array, of this machine's byte order.

        Raises
        ------
        Exception
            One of `fastadv.files.UNREADABLE`.
        """
        member = self._members[name]
        if member.compress_type not in _PACKINGS:
            raise ValueError("it is packed in a way that NumPy does not pack")
        with self._zip.open(member) as stream:
            return _read_array(stream, member.file_size)


def read_shape(stream: IO[bytes], size: int) -> tuple[int, ...]:
    """Read an array in NumPy's form, of numbers, text or records of numbers, and return its shape.

    Parameters
    ----------
    stream : binary file
    size : int
        Bytes of the array with its header.

    Raises
    ------
    Exception
        One of `fastadv.files.UNREADABLE`.
    """
    return _read_array(stream, size, records=True).shape


def fill(array: npt.NDArray[Any], stream: IO[bytes] | io.BufferedIOBase) -> int:
    """Read the bytes of an array (n,) piece by piece; return how many there were."""
    into, at = array.view(np.uint8) if array.size else np.empty(0, np.uint8), 0
    while at < len(into):
        piece = stream.read(min(_PIECE, len(into) - at))
        if not piece:
            break
        into[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return at


def _read_array(stream: IO[bytes], size: int, records: bool = False) -> npt.NDArray[Any]:
    """Read an array in NumPy's form, of ``size`` bytes with its header; records as bytes."""
    start = stream.read(len(_MAGIC) + 2)
    if not start.startswith(_MAGIC) or len(start) < len(_MAGIC) + 2:
        raise ValueError("it is no array in NumPy's form")
    width = 2 if start[-2] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes, expected {_LONGEST_HEADER:,} at most")
    header = stream.read(length).decode("latin-1")
    dtype, shape, fortran = _parse_header(_as_bytes(header) if records else header)
    expected, found = math.prod(shape) * dtype.itemsize, size - len(start) - width - length
    if found != expected:
        sides = "x".join(map(str, shape)) or "one value"
        raise ValueError(f"it has {found:,} bytes, expected {expected:,} for {sides} of {dtype}")
    array = np.empty(math.prod(shape), dtype)
    if fill(array, stream) < array.nbytes:
        raise ValueError("it ends too early")
    if stream.read(1):  # at the end, where the checksum is looked at
        raise ValueError("it goes on behind its end")
    _check_values(array)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _as_bytes(header: str) -> str:
    """Return a header in which records are bytes: ``[('a', '<i8'), ('b', '|u1')]`` is ``'|V9'``."""

    def size(match: re.Match[str]) -> str:
        return f"'|V{sum(int(digits) for digits in re.findall(_FIELD, match.group()))}'"

    return _RECORD.sub(size, header, count=1)


def _parse_header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return type, shape and order of a header such as NumPy writes.

    ``{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }``, the items in any order.
    """
    found: dict[str, str] = {}
    rest = text.strip()
    for item in _ITEMS:
        match = item.search(rest)
        if match is None:
            break
        found |= match.groupdict()
        rest = rest[: match.start()] + rest[match.end() :]
    if len(found) < len(_ITEMS) or not re.fullmatch(r"\{[\s,]*\}", rest):
        if re.search(r"'descr'\s*:\s*'[<>|=]?O", text):
            raise ValueError("Object arrays are not read: they are pickles")
        raise ValueError("its header is not one of plain numbers or text")
    try:
        dtype = np.dtype(found["descr"])
    except (TypeError, ValueError):
        raise ValueError(f"there is no type {found['descr']}") from None
    shape = tuple(int(side.rstrip("L ")) for side in found["shape"].split(",") if side.strip())
    if not dtype.itemsize or len(shape) > 32 or any(side > _LONGEST_SIDE for side in shape):
        raise ValueError(f"there is no array of {dtype} in shape {shape}")
    return dtype, shape, found["fortran"] == "True"


def _check_values(array: npt.NDArray[Any]) -> None:
    """Raise ValueError for bytes that are no value of the type: NumPy trusts all of them."""
    kind, code = array.dtype.kind, array.dtype.newbyteorder("=")
    if kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("it holds bytes that are neither true nor false")
    if kind == "U" and array.size:
        points = array.view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if points.max() >= _CODE_POINTS:
            raise ValueError(f"it holds what is no character, as {code}")
