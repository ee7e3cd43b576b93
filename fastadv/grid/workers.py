"""Where stages run: in this process, or in spawned ones that can be stopped."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fastadv import threads
from fastadv.datasets import open_shared, share
from fastadv.errors import DivergenceError, InputError
from fastadv.grid.spec import Grid
from fastadv.grid.stages import Context, Stage
from fastadv.grid.store import Store

Begin = Callable[[str], None]
Needs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Finished:
    """How a stage ended: ``ok``, ``failed`` or ``timeout``, with the message."""

    key: str
    status: str
    message: str | None = None


def _blocked(key: str, needs: Needs, bad: Mapping[str, Finished]) -> Finished | None:
    """Return how a stage ends that needs one that did not succeed."""
    for needed in needs[key]:
        if needed in bad:
            return Finished(key, bad[needed].status, bad[needed].message)
    return None


_AGAIN = "the same command tries it again"


def _message(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if text and isinstance(error, InputError | DivergenceError):
        return text  # it says by itself what is wrong
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # Of the machine, not of what was asked for: anything else would only fail again.
    return f"{said} ({_AGAIN})" if isinstance(error, OSError | MemoryError) else said


def _run(stage: Stage, context: Context) -> None:
    """Run a stage; of training that has not settled its rows tell, in a note."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        stage.run(context)


def run_inline(
    plan: Mapping[str, Stage], needs: Needs, context: Context, *, begin: Begin, **_: Any
) -> Iterator[Finished]:
    """Run the stages one after the other in this process."""
    bad: dict[str, Finished] = {}
    for key, stage in plan.items():
        event = _blocked(key, needs, bad)
        if event is None:
            begin(stage.label())
            try:
                _run(stage, context)
                event = Finished(key, "ok")
            except Exception as error:  # a failing cell is a row; the grid goes on
                event = Finished(key, "failed", f"{stage.label()}: {_message(error)}")
        if event.status != "ok":
            bad[key] = event
        yield event


BEGUN = "begun"  # what a worker says when it has imported and read all that a stage needs


class Worker:
    """A spawned process that runs one stage at a time."""

    def __init__(self, start: tuple[Grid, str, str, int]) -> None:
        process = multiprocessing.get_context("spawn")
        self.connection, there = process.Pipe()
        self.process = process.Process(target=_serve, args=(there, *start), daemon=True)
        self.process.start()
        there.close()
        self.key: str | None = None
        self.deadline = float("inf")

    def give(self, key: str, stage: Stage) -> None:
        """Let it run a stage; it says BEGUN when it begins."""
        self.key, self.deadline = key, float("inf")
        self.connection.send((key, stage))

    def begins(self, timeout: float | None) -> None:
        """Count the time of its stage from now on."""
        if timeout is not None:
            self.deadline = time.monotonic() + timeout

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(
    connection: multiprocessing.connection.Connection, grid: Grid, data: str, folder: str, n: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threads.set_threads(n)
    context = Context(grid, open_shared(Path(data)), Store(Path(folder)))
    while True:
        try:
            key, stage = connection.recv()
        except EOFError:
            return
        connection.send(BEGUN)
        try:
            _run(stage, context)
            connection.send(Finished(key, "ok"))
        except Exception as error:
            connection.send(Finished(key, "failed", f"{stage.label()}: {_message(error)}"))


def run_in_processes(
    plan: Mapping[str, Stage],
    needs: Needs,
    context: Context,
    *,
    jobs: int,
    timeout: float | None,
    begin: Begin,
) -> Iterator[Finished]:
    """Run stages side by side, each when what it needs is done; stop one that takes too long."""
    with tempfile.TemporaryDirectory(prefix="fastadv-data-") as shared:
        share(context.dataset, Path(shared))
        share_of_threads = max(1, threads.thread_count() // jobs)
        start = (context.grid, shared, str(context.store.folder), share_of_threads)
        waiting, done, bad = dict(plan), set[str](), dict[str, Finished]()
        workers: list[Worker] = []
        try:
            while waiting or any(worker.key for worker in workers):
                for key in list(waiting):
                    blocked = _blocked(key, needs, bad)
                    if blocked is not None:
                        bad[key] = blocked
                        del waiting[key]
                        yield blocked
                ready = [k for k in waiting if all(n in done or n not in plan for n in needs[k])]
                for key in ready:
                    worker = next((w for w in workers if w.key is None), None)
                    if worker is None and len(workers) < jobs:
                        worker = Worker(start)
                        workers.append(worker)
                    if worker is None:
                        break
                    begin(waiting[key].label())
                    worker.give(key, waiting.pop(key))
                for event in _wait(workers, plan, start, timeout):
                    if event.status == "ok":
                        done.add(event.key)
                    else:
                        bad[event.key] = event
                    yield event
        finally:
            for worker in workers:
                worker.stop()


def _wait(
    workers: list[Worker],
    plan: Mapping[str, Stage],
    start: tuple[Grid, str, str, int],
    timeout: float | None,
) -> list[Finished]:
    """Wait until a stage ends, one way or another; a worker that had to be stopped is replaced."""
    busy = {worker.connection: worker for worker in workers if worker.key is not None}
    if not busy:
        return []
    patience = min(worker.deadline for worker in busy.values()) - time.monotonic()
    answered = multiprocessing.connection.wait(
        list(busy), None if patience == float("inf") else max(0.0, patience)
    )
    events = []
    for connection, worker in busy.items():
        key = worker.key or ""
        label = plan[key].label()
        if connection in answered:
            try:
                said = worker.connection.recv()
                if said == BEGUN:
                    worker.begins(timeout)
                else:
                    events.append(said)
                    worker.key = None
                continue
            except EOFError:
                code = worker.process.exitcode
                died = f"{label}: its process ended with code {code} ({_AGAIN})"
                events.append(Finished(key, "failed", died))
        elif time.monotonic() >= worker.deadline:
            events.append(Finished(key, "timeout", f"{label}: stopped after {timeout:g} s"))
        else:
            continue
        worker.stop()
        workers[workers.index(worker)] = Worker(start)
    return events
