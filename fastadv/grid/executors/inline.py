"""Stages one after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastadv.grid.context import Context
from fastadv.grid.executors.base import Begin, Outcome, Queue, attempt


@dataclass(frozen=True)
class Inline:
    """Run stages in the calling process."""

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        """Run all stages of the queue."""
        while (planned := queue.take()) is not None:
            begin(planned.stage.label())
            yield from queue.end(attempt(planned, queue.inputs(planned), context))
