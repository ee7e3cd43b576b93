"""Stages on the workers of a Dask cluster.

The queue stays here, and so does every file: a worker gets one stage at a time with what it lacks
of that stage's needs, and what it makes comes back as bytes. Dask carries the messages, and tells
who comes and goes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from fastadv import registry, threads
from fastadv.datasets import share
from fastadv.errors import InputError
from fastadv.files import read_plain, scratch_folder
from fastadv.grid.executors import wire
from fastadv.grid.executors.base import Begin, Outcome, Queue
from fastadv.grid.executors.cluster import (
    Answered,
    Cluster,
    Event,
    Failed,
    Joined,
    Left,
    connected,
    local_workers,
    require_dask,
)
from fastadv.grid.machine import likeness, processor
from fastadv.grid.plan import Planned
from fastadv.grid.row import Flag
from fastadv.grid.stages import Context
from fastadv.sources import FILES
from fastadv.specs import Spec

_ROOM = 256 << 20  # bytes of results that are kept here for the next stages


@dataclass(frozen=True)
class Dask:
    """Run stages on the workers of a Dask cluster, as they come and go.

    Dask's protocol pickles: whoever reaches the scheduler can run code on it and on its workers.

    Parameters
    ----------
    address : str
        Of the scheduler, ``tcp://10.0.0.1:8786`` or ``tls://...``; ``local[4]`` is four workers on
        this machine.
    mixed : bool
        Take workers with another type of processor, too; rows say which they are of.
    timeout : float or None
        Seconds that a stage may take.
    note : callable
        Is told, in a line, what a user should know of the workers.
    """

    address: str
    mixed: bool = False
    timeout: float | None = None
    note: Callable[[str], None] = field(default=lambda _: None, compare=False)

    compiles: ClassVar[bool] = True  # where the stages run, and not here

    def __post_init__(self) -> None:
        local_workers(self.address)
        require_dask()

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        """Run all stages of the queue."""
        if not queue:
            return
        with scratch_folder() as folder:
            n_local = local_workers(self.address)
            start = _start(context, self, n_local, folder)
            with connected(self.address) as cluster:
                yield from _Run(cluster, queue, start, begin, self.note).outcomes()


@dataclass
class _Worker:
    """A worker: with a process that is getting ready, or is."""

    address: str
    hiring: str  # the task that answers when it is ready
    is_ready: bool = False
    processor: str = ""
    machine: str = ""
    has: set[str] = field(default_factory=set)  # the results in its memory
    task: str = ""  # what it does now
    planned: Planned | None = None
    since: float = 0.0
    sent: int = 0


class _Run:
    """One run of a queue on a cluster."""

    def __init__(
        self, cluster: Cluster, queue: Queue, start: wire.Start, begin: Begin,
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._cluster, self._queue, self._begin, self._note = cluster, queue, begin, note
        self._start, self._threads, self._timeout = wire.encode(start), start.threads, start.timeout
        self._own = processor(start.like)
        self._workers: dict[str, _Worker] = {}
        self._refused: dict[str, str] = {}
        self._recent = Recent(_ROOM)
        self._foreign: dict[str, str] = {}  # of results, by key: another processor
        self._waits = False

    def outcomes(self) -> Iterator[Outcome]:
        """Run all stages, and return how each ended."""
        while self._queue:
            self._give()
            for event in self._cluster.events():
                for outcome in self._handle(event):
                    yield from self._queue.end(outcome)
            self._check()

    def _give(self) -> None:
        """Give each idle worker a stage, as long as there are any."""
        for worker in self._workers.values():
            if worker.is_ready and worker.planned is None:
                planned = self._queue.take(worker.has)
                if planned is None:
                    return
                self._begin(planned.stage.label())
                self._send(
                    worker, planned, [k for k in planned.needs.values() if k not in worker.has]
                )

    def _send(self, worker: _Worker, planned: Planned, lacks: list[str]) -> None:
        sent = {key: self._result(key) for key in lacks}
        stage = wire.packed_stage(planned.stage)
        message = wire.encode(
            wire.Task(key=planned.key, stage=stage, needs=planned.needs, sent=sent)
        )
        label, kind = planned.stage.label(), type(planned.stage).__name__
        worker.planned, worker.since, worker.sent = planned, time.perf_counter(), len(message)
        worker.task = self._cluster.work(worker.address, label, kind, message)
        worker.has.update(lacks)

    def _result(self, key: str) -> wire.Result:
        result = self._recent.get(key)
        if result is None:
            result = wire.packed_made(self._queue.result(key))
            self._recent.keep(key, result)
        return result

    # -- what happens -----------------------------------------------------------------------

    def _handle(self, event: Event) -> list[Outcome]:
        if isinstance(event, Joined):
            hiring = self._cluster.hire(event.worker, self._start, self._threads, self._timeout)
            self._workers[event.worker] = _Worker(event.worker, hiring)
            return []
        worker = self._workers.get(event.worker)
        if worker is None:
            return []
        if isinstance(event, Left):
            return self._leave(worker)
        if event.task == worker.hiring:
            self._greet(worker, event)
            return []
        if event.task != worker.task or worker.planned is None:
            return []
        self._cluster.forget(event.task)
        return self._answer(worker, worker.planned, event)

    def _leave(self, worker: _Worker) -> list[Outcome]:
        """Return what becomes of the stage that a lost worker ran."""
        self._dismiss(worker)
        if worker.planned is None:
            return []
        said = f"{worker.planned.stage.label()}: its worker {worker.address} went away"
        return [Outcome(worker.planned.key, "died", said)]

    def _dismiss(self, worker: _Worker) -> None:
        for task in filter(None, (worker.hiring, worker.task)):
            self._cluster.forget(task)
        self._cluster.let_go(worker.address)
        self._workers.pop(worker.address, None)

    def _greet(self, worker: _Worker, event: Answered | Failed) -> None:
        """Take a worker that is ready into service, or refuse it in a line."""
        if isinstance(event, Failed):
            if "FutureCancelledError" in event.why:  # it leaves, or all is over
                return
            self._refuse(worker, f"cannot run fastadv: {event.why}")
            return
        ready = wire.decode(event.value, wire.Ready)
        if ready.refused:
            self._refuse(worker, ready.refused)
            return
        worker.is_ready, worker.processor, worker.machine = True, ready.processor, ready.machine
        if ready.processor != self._own:
            self._note(f"the worker {worker.address} has another processor: {ready.processor}")

    def _refuse(self, worker: _Worker, why: str) -> None:
        self._refused[worker.address] = f"the worker {worker.address} {why}"
        self._note(f"not used: {self._refused[worker.address]}")
        self._dismiss(worker)

    def _answer(self, worker: _Worker, planned: Planned, event: Answered | Failed) -> list[Outcome]:
        """Return how a stage ended."""
        label = planned.stage.label()
        worker.planned, worker.task = None, ""
        if isinstance(event, Failed):
            return [
                Outcome(planned.key, "died", f"{label}: lost at {worker.address} ({event.why})")
            ]
        how, value = event.value
        if how == "timeout":
            worker.has.clear()
            said = f"{label}: stopped after {self._timeout:g} s"
            return [Outcome(planned.key, "timeout", said)]
        if how == "died":
            worker.has.clear()
            said = f"{label}: its process at {worker.address} {value.decode(errors='replace')}"
            return [Outcome(planned.key, "died", said)]
        answer = wire.decode(value, wire.Answer)
        worker.has.difference_update(answer.dropped, answer.lacks)
        if answer.status == "lacks":
            self._send(worker, planned, list(planned.needs.values()))
            return []
        if answer.status == "halted":
            self._queue.give_back(planned)
            self._refuse(worker, f"cannot go on: {answer.message}")
            return []
        made = None if answer.made is None else wire.unpacked_made(answer.made)
        if answer.made is not None and made is not None:
            worker.has.add(planned.key)
            self._recent.keep(planned.key, answer.made)
            self._say_where(worker, planned, made.facts)
        self._record(worker, planned, len(value), made.facts["seconds"] if made else None)
        return [Outcome(planned.key, answer.status, answer.message, made)]

    def _say_where(self, worker: _Worker, planned: Planned, facts: dict[str, Any]) -> None:
        """Note in a row which of what it stands on was made by another type of processor."""
        made_by = {self._foreign[key] for key in planned.needs.values() if key in self._foreign}
        made_by |= {worker.processor} - {self._own}
        if not made_by:
            return
        self._foreign[planned.key] = " and ".join(sorted(made_by))
        if "row" in facts:
            said = (
                f"made on several types of processors: {self._own} and {', '.join(sorted(made_by))}"
            )
            note = Flag("mixed_processors", said, "its last digits may be others elsewhere")
            facts["row"]["notes"].append(msgspec.to_builtins(note))

    def _record(
        self, worker: _Worker, planned: Planned, received: int, seconds: float | None
    ) -> None:
        now = time.perf_counter()
        self._queue.record(
            {
                "key": planned.key, "stage": type(planned.stage).__name__,
                "needs": list(planned.needs.values()), "worker": worker.address,
                "machine": worker.machine, "seconds": seconds, "away": now - worker.since,
                "sent": worker.sent, "received": received, "at": time.time(),
            }
        )  # fmt: skip

    def _check(self) -> None:
        """Raise InputError if no worker that is there can be used; say it if none is there."""
        if self._workers or not self._queue:
            self._waits = False
            return
        if self._refused:
            raise InputError(next(reversed(self._refused.values())))
        if not self._waits:
            self._waits = True
            self._note(f"no worker at {self._cluster.address} yet; waiting for one")


class Recent:
    """The results that came last, as long as there is room.

    Parameters
    ----------
    room : int
        Bytes.
    """

    def __init__(self, room: int) -> None:
        self._room, self._size = room, 0
        self._kept: OrderedDict[str, wire.Result] = OrderedDict()

    def get(self, key: str) -> wire.Result | None:
        """Return a result, if it is still there."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: str, result: wire.Result) -> None:
        """Keep a result."""
        if key in self._kept:
            return
        self._kept[key] = result
        self._size += _size(result)
        while self._size > self._room:
            self._size -= _size(self._kept.popitem(last=False)[1])


def _size(result: wire.Result) -> int:
    return sum(map(len, result.arrays.values()))


def _start(context: Context, dask: Dask, n_local: int | None, folder: Path) -> wire.Start:
    """Return what each process is told at first; ``n_local`` workers are on this machine."""
    data, grid = context.dataset, context.grid
    if n_local is not None:
        share(data, folder / "data")
    given: dict[str, Any] = {}
    if context.given is not None:
        given = _given(grid.model) | {"identity": context.given.given.identity}
    return wire.Start(
        grid=wire.packed_grid(grid),
        data=_everywhere(grid.dataset) if n_local is None else str(folder / "data"),
        shared=n_local is not None,
        data_name=data.name,
        fingerprint=data.fingerprint,
        like=likeness(),
        mixed=dask.mixed,
        threads=0 if n_local is None else max(1, threads.thread_count() // n_local),
        timeout=dask.timeout,
        **given,
    )


def _everywhere(dataset: str) -> str:
    """Return the spec of a data set so that it does not hang on the folder of whoever reads it."""
    spec = Spec.of_data(dataset)
    if registry.knows("dataset", spec.name):
        return dataset
    return str(Path(spec.name).expanduser().resolve()) + dataset[len(spec.name) :]


def _given(text: str) -> dict[str, Any]:
    """Return how a worker gets a model that came trained.

    Raises
    ------
    InputError
        If it was given as an object.
    """
    path, colon, name = text.rpartition(":")
    if colon:
        is_file = path.endswith(".py")
        return {"model": f"{Path(path).expanduser().resolve()}:{name}" if is_file else text}
    file = Path(text).expanduser()
    if file.suffix not in FILES or not file.is_file():
        raise InputError(
            f"{text} is an object of this process, which cannot be sent to others: give its file, "
            "or a factory that the workers import"
        )
    return {"model": file.suffix, "model_file": read_plain(file)}
