"""Randomness as a function of (seed, sample, draw), never of what ran before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fastadv.kernels import random as kernels

Ids = npt.NDArray[np.uint64]


def derive(seed: int, *labels: object) -> int:
    """Return a 64-bit key for ``seed`` and what it is used for.

    Examples
    --------
    >>> derive(0, "fit") == derive(0, "fit") != derive(1, "fit")
    True
    """
    text = "\x1f".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *labels: object) -> np.random.Generator:
    """Return a generator of its own for ``seed`` and what it is used for."""
    return np.random.default_rng(derive(seed, *labels))


def sample_ids(X: npt.NDArray[np.floating]) -> Ids:
    """Return the hash of the bytes of each row, shape (n,): by it a sample's draws are known."""
    rows = np.ascontiguousarray(X, dtype=np.float32)
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.uint64).copy()


class Stream:
    """The draws of a chunk of samples: the same for a sample in any chunk and any order.

    Parameters
    ----------
    key : int
        From `derive`.
    ids : ndarray of uint64, shape (n,), or callable
        One a sample; or what returns them, called at the first draw: many attacks draw nothing.
    """

    def __init__(self, key: int, ids: Ids | Callable[[], Ids]) -> None:
        self.key = key
        self._ids = ids

    @property
    def ids(self) -> Ids:
        """One a sample, (n,)."""
        if callable(self._ids):
            self._ids = self._ids()
        return self._ids

    def rows(self, rows: npt.NDArray[np.intp]) -> Stream:
        """Return the draws of some of the samples."""
        return Stream(self.key, self.ids[rows])

    def uniform(
        self, draw: int, n_columns: int, low: float = 0.0, high: float = 1.0
    ) -> npt.NDArray[np.float32]:
        """Return the draw number ``draw`` of each sample, in [low, high), shape (n, n_columns)."""
        out = np.empty((len(self.ids), n_columns), dtype=np.float32)
        kernels.uniform(np.uint64(self.key), self.ids, np.uint64(draw), low, high, out)
        return out

    def normal(self, draw: int, n_columns: int) -> npt.NDArray[np.float32]:
        """Return standard normal draws, shape (n, n_columns)."""
        out = np.empty((len(self.ids), n_columns), dtype=np.float32)
        kernels.normal(np.uint64(self.key), self.ids, np.uint64(draw), out)
        return out
