"""Arrays as PNG images in a ``data:`` address, without another library."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def data_uri(image: npt.NDArray[Any]) -> str:
    """Return an image as text that an ``<img>`` shows.

    Parameters
    ----------
    image : ndarray of shape (H, W), (H, W, 1) or (H, W, 3)
        From 0, black, to 1; what is outside is cut, what is no number is black.
    """
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def png(image: npt.NDArray[Any]) -> bytes:
    """Return a PNG file of 8 bits a channel (W3C PNG specification, sections 5 and 11)."""
    pixels = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0)
    pixels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    height, width = pixels.shape[:2]
    colour = 2 if pixels.size == 3 * height * width else 0  # RGB or grey
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
