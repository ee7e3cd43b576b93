"""What was used last, as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Things by key, of known sizes; the one used longest ago makes room.

    Parameters
    ----------
    room : int
        Bytes.

    Attributes
    ----------
    dropped : list of str
        The keys of what had to go; for the owner to clear.
    """

    def __init__(self, room: int) -> None:
        self._room, self._size = room, 0
        self._kept: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self.dropped: list[str] = []

    def get(self, key: str) -> T | None:
        """Return what is kept under a key, if it still is."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, key: str, thing: T, size: int) -> None:
        """Keep a thing of so many bytes, which may be more than there is room for."""
        if key in self._kept:
            self._size -= self._kept.pop(key)[1]
        self._kept[key] = thing, size
        self._size += size
        while self._size > self._room:
            oldest, (_, freed) = self._kept.popitem(last=False)
            self._size -= freed
            self.dropped.append(oldest)
