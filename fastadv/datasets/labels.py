"""Classes that are texts: which number each has, and what the numbers stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError


def as_numbers(
    labels: Mapping[str, npt.NDArray[Any]], where: str
) -> tuple[dict[str, npt.NDArray[Any]], tuple[str, ...]]:
    """Return labels that are texts as numbers, and what the numbers stand for.

    Texts that are all whole numbers from 0 on stand for these numbers. Others are numbered in
    their sorted order, numbers by their value.

    Parameters
    ----------
    labels : mapping of ndarray
        Those of each part. If none is of texts they are returned as they are.
    where : str
        What the errors name.

    Returns
    -------
    labels : dict of ndarray
    names : tuple of str
        What 0, 1, ... stand for; empty where each is its own name.

    Raises
    ------
    InputError
        If a class has a name that cannot be shown.
    """
    texts_there = any(array.dtype.kind == "U" for array in labels.values())
    if not texts_there or any(array.ndim != 1 for array in labels.values()):  # which is refused
        return dict(labels), ()
    texts = {part: np.char.strip(array.astype(str)) for part, array in labels.items()}
    known = np.unique(np.concatenate(list(texts.values())))
    for text in known:
        if not text or not str(text).isprintable():
            raise InputError(f"{where}: {str(text)!a} cannot be the name of a class; rename it")
    values = {str(text): _number(str(text)) for text in known}
    numbers = [value for value in values.values() if value is not None]
    names = sorted(values)
    if len(numbers) == len(values):
        if all(value >= 0 and value.is_integer() for value in numbers):
            whole = {text: int(value) for text, value in values.items() if value is not None}
            return _look_up(texts, known, whole), ()
        if len(set(numbers)) == len(numbers):
            names = sorted(values, key=lambda text: values[text] or 0.0)
    return _look_up(texts, known, {name: i for i, name in enumerate(names)}), tuple(names)


def _look_up(
    texts: Mapping[str, npt.NDArray[Any]], known: npt.NDArray[Any], numbers: Mapping[str, int]
) -> dict[str, npt.NDArray[Any]]:
    table = np.array([numbers[str(text)] for text in known], dtype=np.int64)
    return {part: table[np.searchsorted(known, array)] for part, array in texts.items()}


def _number(text: str) -> float | None:
    """Return the finite number below 2^31 that a text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 2**31 else None
