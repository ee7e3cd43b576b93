"""How a model wants to be called: with how many rows at once, and from how many threads.

fastadv's own models take small batches from several threads: what a thread works on stays in the
cache of its core. A library that has threads of its own wants few large batches from one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastadv.capabilities import said
from fastadv.threads import map_chunks

T = TypeVar("T")

CALLED = ("batch_rows", "any_thread")  # what a model may have, see `fastadv.protocols.Classifier`


def batch_rows(model: Any, usual: int) -> int:
    """Return how many rows a model wants at once; ``usual`` if neither it nor one inside says."""
    wanted = said(model, "batch_rows")
    return usual if wanted is None else int(wanted)


def any_thread(model: Any) -> bool:
    """Return whether a model may be called from several threads at once, as it may unless said."""
    may = said(model, "any_thread")
    return True if may is None else bool(may)


def cuts_rows(model: Any) -> bool:
    """Return whether a model says how many rows it wants: its ``logits`` cuts larger batches."""
    return said(model, "batch_rows") is not None


def map_rows(model: Any, work: Callable[[int, int], T], n: int, usual: int) -> list[T]:
    """Call ``work(start, stop)``, which asks a model, on chunks of ``n`` rows; results in order.

    The chunks are as large as the model wants them, ``usual`` if it does not say. They run side by
    side as those of `fastadv.threads.map_chunks`, or one after another in the calling thread where
    the model wants one.
    """
    side_by_side = any_thread(model)
    return map_chunks(work, n, batch_rows(model, usual), side_by_side=side_by_side)
