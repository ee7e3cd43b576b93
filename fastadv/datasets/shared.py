"""Datasets that several processes hold in memory once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastadv.datasets.dataset import ARRAYS, Dataset
from fastadv.errors import InputError
from fastadv.task import Task


@dataclass(frozen=True)
class _Rest:
    """What of a dataset is not an array."""

    name: str
    task: Task
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    known_hash: str


def share(dataset: Dataset, folder: str | Path) -> None:
    """Write a dataset to a folder, for `open_shared` in other processes.

    Parameters
    ----------
    dataset : Dataset
    folder : str or Path
        Made if it is not there; MNIST takes 220 MB.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for key in ARRAYS:
        np.save(folder / f"{key}.npy", getattr(dataset, key), allow_pickle=False)
    rest = _Rest(
        dataset.name, dataset.task, dataset.class_names, dataset.notes, dataset.fingerprint
    )
    (folder / "dataset.json").write_bytes(msgspec.json.encode(rest))


def open_shared(folder: str | Path) -> Dataset:
    """Map a dataset that `share` wrote; processes that do so hold it in memory once.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Dataset
        Its arrays are writeable (Numba would compile anew for read-only ones), but what is
        written stays in this process and never reaches the files.

    Raises
    ------
    InputError
        If the folder does not hold a shared dataset.
    """
    folder = Path(folder)
    try:
        rest = msgspec.json.decode((folder / "dataset.json").read_bytes(), type=_Rest)
        arrays: dict[str, Any] = {
            # A plain ndarray over the mapping: Numba dispatches slower on the subclass memmap.
            key: np.asarray(np.load(folder / f"{key}.npy", mmap_mode="c", allow_pickle=False))
            for key in ARRAYS
        }
    except (OSError, ValueError, EOFError, msgspec.DecodeError) as error:
        raise InputError(f"{folder}: found no shared dataset there ({error})") from None
    return Dataset(**arrays, **vars(rest))
