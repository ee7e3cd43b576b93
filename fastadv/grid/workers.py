"""Where stages run: in this process, or in others that can be stopped.

The others are started as programs of their own, not by `multiprocessing`, which would run the
caller's script in each of them once more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fastadv import threads
from fastadv.datasets import open_shared, share
from fastadv.errors import DivergenceError, GradientWarning, InputError, warnings_in_a_line
from fastadv.grid.spec import Grid
from fastadv.grid.stages import Context, Stage
from fastadv.grid.store import Store

Begin = Callable[[str], None]
Needs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Finished:
    """How a stage ended: ``ok``, ``failed``, ``timeout``, or its process ``died``."""

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
    """Run a stage; what is warned of (training that has not settled, gradients) its rows tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", GradientWarning)
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


Start = tuple[Grid, str, str, int]  # the grid, the folders of data and results, threads

# -P and the caller's own path: a file of the working folder is not imported in place of a library.
_PROGRAM = """\
import sys
sys.path[:] = {path!r}
from fastadv.grid.workers import serve
serve({descriptor})
"""


class Worker:
    """A process that runs one stage at a time."""

    def __init__(self, start: Start) -> None:
        self.connection, there = multiprocessing.Pipe()
        descriptor = there.fileno()
        program = _PROGRAM.format(path=sys.path, descriptor=descriptor)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
            )
        except BaseException:
            self.connection.close()
            raise
        finally:
            there.close()
        self.key: str | None = None
        self.deadline = float("inf")
        self._send(start)

    def give(self, key: str, stage: Stage) -> None:
        """Let it run a stage; it says BEGUN when it begins."""
        self.key, self.deadline = key, float("inf")
        self._send((key, stage))

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
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "stopped answering"
        if code < 0 and -code in {number.value for number in signal.Signals}:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


def serve(descriptor: int) -> None:
    """Run the stages that come through a connection, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with warnings_in_a_line():
        _serve(Connection(descriptor))


def _serve(connection: Connection[Any, Any]) -> None:
    grid, data, folder, n = connection.recv()
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
    """Run stages side by side, each when what it needs is done; stop one that takes too long.

    A stage whose process dies is tried once more.
    """
    with tempfile.TemporaryDirectory(prefix="fastadv-data-") as shared:
        share(context.dataset, Path(shared))
        share_of_threads = max(1, threads.thread_count() // jobs)
        start = (context.grid, shared, str(context.store.folder), share_of_threads)
        waiting, done, bad = dict(plan), set[str](), dict[str, Finished]()
        tried_again: set[str] = set()
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
                for event in _wait(workers, plan, timeout):
                    if event.status == "died" and event.key not in tried_again:
                        tried_again.add(event.key)
                        waiting[event.key] = plan[event.key]
                        continue
                    ended = replace(event, status="failed") if event.status == "died" else event
                    if ended.status == "ok":
                        done.add(ended.key)
                    else:
                        bad[ended.key] = ended
                    yield ended
        finally:
            for worker in workers:
                worker.stop()


def _wait(
    workers: list[Worker], plan: Mapping[str, Stage], timeout: float | None
) -> list[Finished]:
    """Wait until a stage ends, one way or another; a worker that died or was stopped is gone."""
    busy = {worker.connection: worker for worker in workers if worker.key is not None}
    if not busy:
        return []
    patience = min(worker.deadline for worker in busy.values()) - time.monotonic()
    answered = wait(list(busy), None if patience == float("inf") else max(0.0, patience))
    events = []
    for connection, worker in busy.items():
        key = worker.key or ""
        label = plan[key].label()
        if connection in answered:
            said = worker.answer()
            if said == BEGUN:
                worker.begins(timeout)
                continue
            if said is not None:
                events.append(said)
                worker.key = None
                continue
            died = f"{label}: its process {worker.ending()}, twice ({_AGAIN})"
            events.append(Finished(key, "died", died))
        elif time.monotonic() >= worker.deadline:
            events.append(Finished(key, "timeout", f"{label}: stopped after {timeout:g} s"))
        else:
            continue
        worker.stop()
        workers.remove(worker)
    return events
