"""Stages in processes of their own, which can be stopped."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fastadv import children, threads
from fastadv.datasets import Dataset, open_shared, share
from fastadv.datasets.memory import in_words
from fastadv.errors import InputError
from fastadv.files import scratch_folder
from fastadv.grid.cell import Grid
from fastadv.grid.context import Context
from fastadv.grid.executors.base import Begin, Outcome, Queue, attempt
from fastadv.grid.memory import data_bytes
from fastadv.grid.plan import Planned
from fastadv.grid.stages.base import Inputs

BEGUN = "begun"  # what a worker says when it has imported and read all that a stage needs

_SERVE = "fastadv.grid.executors.processes:serve"


# the grid, the model if it came trained, the folder of the data, threads
Start = tuple[Grid, Any, str, int]


class Worker:
    """A process that runs one stage at a time."""

    def __init__(self, start: Start) -> None:
        self.connection, there = multiprocessing.Pipe()
        descriptor = there.fileno()
        try:
            self.process = children.start(_SERVE, str(descriptor), pass_fds=[descriptor])
        except BaseException:
            self.connection.close()
            raise
        finally:
            there.close()
        self.planned: Planned | None = None
        self.deadline = float("inf")
        self._send(start)

    def give(self, planned: Planned, inputs: Inputs) -> None:
        """Let it run a stage; it says BEGUN when it begins."""
        self.planned, self.deadline = planned, float("inf")
        self._send((planned, inputs))

    def _send(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, which shows where it should answer
            self.connection.send(what)

    def answer(self) -> Any:
        """Return what it says; None if it has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def begins(self, timeout: float | None) -> None:
        """Count the time of its stage from now on."""
        if timeout is not None:
            self.deadline = time.monotonic() + timeout

    def ending(self) -> str:
        """Return how it ended, which it has or is about to."""
        return children.ending(self.process)

    def has_died(self) -> bool:
        """Return whether the process has ended by itself, or by somebody else."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """End the process, whatever it does."""
        children.stop(self.process)
        self.connection.close()


def serve(descriptor: str) -> None:
    """Run the stages that come through a connection, until it is closed."""
    connection: Connection[Any, Any] = Connection(int(descriptor))
    grid, given, data, n_threads = connection.recv()
    threads.set_threads(n_threads)
    try:
        context = Context(grid, open_shared(Path(data)), given)
    except InputError as error:  # its folder has gone
        connection.send(Outcome("", "halted", str(error)))
        return
    while True:
        try:
            planned, inputs = connection.recv()
        except EOFError:
            return
        connection.send(BEGUN)
        connection.send(attempt(planned, inputs, context))


@dataclass(frozen=True)
class Processes:
    """Run stages side by side, each when what it needs is there; stop one that takes too long.

    Parameters
    ----------
    jobs : int
        Processes, each with its share of the threads.
    timeout : float or None
        Seconds that a stage may take.
    """

    jobs: int
    timeout: float | None = None

    def __post_init__(self) -> None:
        if sys.platform == "win32":  # descriptors are handed on, which it has not
            raise InputError("jobs and timeout are not there on Windows yet; leave them out")

    def check_room(self, dataset: Dataset) -> None:
        """Raise InputError if the temporary folder has no room for what the processes share."""
        needed = data_bytes(dataset)
        try:
            folder = Path(tempfile.gettempdir())
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise InputError(
                f"no temporary folder to share the data in ({error.strerror or error}); set TMPDIR "
                "to a folder with room, or use --jobs 1"
            ) from None
        if free < needed:
            raise _no_room(folder, f"{in_words(free)} are free", needed)

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        """Run all stages of the queue."""
        workers: list[Worker] = []
        with scratch_folder() as shared:
            share_data(context.dataset, shared)
            n_threads = max(1, threads.thread_count() // self.jobs)
            start = (context.grid, context.given, str(shared), n_threads)
            try:
                while queue:
                    self._give(queue, workers, start, begin)
                    for outcome in self._wait(workers):
                        yield from queue.end(outcome)
            finally:
                for worker in workers:
                    worker.stop()

    def _give(self, queue: Queue, workers: list[Worker], start: Start, begin: Begin) -> None:
        """Give each idle process a stage, as long as there are any."""
        while True:
            worker = next((w for w in workers if w.planned is None), None)
            if worker is not None and worker.has_died():  # no stage has a part in that
                worker.stop()
                workers.remove(worker)
                continue
            if worker is None and len(workers) == self.jobs:
                return
            planned = queue.take()
            if planned is None:
                return
            if worker is None:
                worker = Worker(start)
                workers.append(worker)
            begin(planned.stage.label())
            worker.give(planned, queue.inputs(planned))

    def _wait(self, workers: list[Worker]) -> list[Outcome]:
        """Wait until a stage ends; a process that died or was stopped is gone."""
        busy = {worker.connection: worker for worker in workers if worker.planned is not None}
        patience = min((w.deadline for w in busy.values()), default=0.0) - time.monotonic()
        answered = wait(list(busy), None if patience == float("inf") else max(0.0, patience))
        outcomes = []
        for connection, worker in busy.items():
            assert worker.planned is not None  # it is busy
            key, label = worker.planned.key, worker.planned.stage.label()
            if connection in answered:
                said = worker.answer()
                if said == BEGUN:
                    worker.begins(self.timeout)
                    continue
                if said is not None:
                    outcomes.append(said)
                    worker.planned = None
                    continue
                outcomes.append(Outcome(key, "died", f"{label}: its process {worker.ending()}"))
            elif time.monotonic() >= worker.deadline:
                said = f"{label}: stopped after {self.timeout:g} s"
                outcomes.append(Outcome(key, "timeout", said))
            else:
                continue
            worker.stop()
            workers.remove(worker)
        return outcomes


def share_data(dataset: Dataset, folder: Path) -> None:
    """Put the data where all processes of this machine read them.

    Raises
    ------
    InputError
        If there is no room.
    """
    try:
        share(dataset, folder)
    except OSError as error:  # NumPy's has no other text than its own
        raise _no_room(folder.parent, error.strerror or str(error), data_bytes(dataset)) from None


def _no_room(folder: Path, why: str, needed: int) -> InputError:
    return InputError(
        f"cannot share the data between processes in {folder}: {why}, {in_words(needed)} are "
        "needed; set TMPDIR to a folder with room, or use --jobs 1"
    )
