"""Whether what a file holds fits into memory, asked before it is read."""

from __future__ import annotations

import os
from pathlib import Path

from fastadv.errors import InputError

_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def check_fits(path: str | Path, n_bytes: int) -> None:
    """Raise InputError if ``n_bytes`` are more than the memory of this machine.

    Parameters
    ----------
    path : str or Path
        What the error names.
    n_bytes : int
        That reading it will take, at least.
    """
    memory = total_memory()
    if memory is not None and n_bytes > memory:
        raise InputError(
            f"{path}: reading it takes {in_words(n_bytes)} of memory, and this machine has "
            f"{in_words(memory)}; keep fewer rows of it"
        )


def total_memory() -> int | None:
    """Return the bytes of memory that a process can have here, or None where nobody tells.

    Those of the machine, or the limit of the container.
    """
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = int(_CONTAINER.read_text())
    except (OSError, ValueError):  # no container, or "max"
        return machine
    return min(machine, limit)


def in_words(n_bytes: float) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> in_words(29_515), in_words(561_753_746)
    ('29.5 kB', '562 MB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"
