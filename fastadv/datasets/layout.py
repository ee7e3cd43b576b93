"""Where the channels of an array of images are, and the range of its values."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.task import found_range

Channels = Literal["first", "last"]

_USUAL = (1, 3, 4)  # numbers of channels: grey, colour, colour with opacity
_SMALL = 4  # pixels of a side, and channels, at most: what is larger is one or the other


def channels_last(
    images: npt.NDArray[Any], stated: Channels | None, where: str
) -> tuple[npt.NDArray[Any], bool]:
    """Return images (n, H, W, C), and whether their channels were first.

    Parameters
    ----------
    images : ndarray of shape (n, H, W), (n, H, W, C) or (n, C, H, W)
    stated : {"first", "last"} or None
        None tells by the shape: channels are last unless there would be more than four of them, and
        one, three or four if they were first.
    where : str
        What the errors name.

    Raises
    ------
    InputError
        If the shape allows both, or neither.
    """
    if images.ndim == 3:
        if stated is not None:
            raise InputError(f"{where}: found {images.shape}, which has no channels to be {stated}")
        return images[..., np.newaxis], False
    _, a, b, c = images.shape
    if stated is None:
        as_last = f"{a} x {b} pixels of {c} channels with channels=last"
        as_first = f"{b} x {c} pixels of {a} with channels=first"
        colour = c in _USUAL[1:]
        if (colour and a in _USUAL and b > _SMALL) or (c > _SMALL and a not in _USUAL):
            raise InputError(f"{where}: found {images.shape}; say which: {as_last}, {as_first}")
        stated = "first" if c > _SMALL else "last"
    if stated == "last":
        return images, False
    return images.transpose(0, 2, 3, 1), True


def white_of(images: npt.NDArray[Any], stated: float | None, where: str) -> float:
    """Return the value that stands for 1: ``stated``, or 255 for bytes and 1 for floats.

    Raises
    ------
    InputError
        If values are outside the range, or of bytes none is above 1.
    """
    kind = images.dtype.kind
    if images.dtype != np.uint8 and kind != "f" and not (stated is not None and kind in "iu"):
        raise InputError(f"{where}: found {images.dtype}, expected uint8 or floats in [0, 1]")
    low, high = images.min(), images.max()
    if images.dtype == np.uint8 and stated is None:
        if high <= 1:
            raise InputError(
                f"{where}: found bytes from {low} to {high}, which are black as shares of 255; "
                "state the value of white in brackets: range=1 (or range=255)"
            )
        return 255.0
    white = 1.0 if stated is None else stated
    if not (low >= 0 and high <= white):  # false for NaN too
        wanted = f"{'floats' if kind == 'f' else 'values'} in [0, {white:g}]"
        if stated is None and low >= 0:
            wanted += ", or the value of white in brackets: range=255"
        raise InputError(f"{where}: found {found_range(images)}, expected {wanted}")
    return white
