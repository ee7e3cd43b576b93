"""Stages on the workers of a Dask cluster.

The queue stays here, and so does every file: a worker gets one stage at a time with what it lacks
of that stage's needs, and what it makes comes back as bytes. Dask carries the messages, and tells
who comes and goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from fastadv import registry, threads
from fastadv.errors import InputError
from fastadv.files import read_plain, scratch_folder
from fastadv.grid.context import Context
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
from fastadv.grid.executors.processes import share_data
from fastadv.grid.executors.recent import Recent
from fastadv.grid.machine import likeness, packages_of, processor
from fastadv.grid.plan import Planned
from fastadv.grid.row import Flag
from fastadv.sources import FILES
from fastadv.specs import Spec

_ROOM = 256 << 20  # bytes of results that are kept here for the next stages
_QUICK = 0.05  # seconds within which a stage is back whose worker gets two at once


@dataclass(frozen=True)
class Dask:
    """Run stages on the workers of a Dask cluster, as they come and go.

    For `run_grid`'s ``executor``. Dask's protocol pickles: whoever reaches the scheduler can run
    code on it and on its workers.

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

    @property
    def jobs(self) -> int:
        """How many of its processes are on this machine; at least this one is."""
        return local_workers(self.address) or 1

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        """Run all stages of the queue.

        Yields
        ------
        Outcome
            How each stage ended.
        """
        if not queue:
            return
        with scratch_folder() as folder:
            n_local = local_workers(self.address)
            start = _start(context, self, n_local, folder)
            with connected(self.address, folder / "dask") as cluster:
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
    given: dict[str, _Given] = field(default_factory=dict)  # by task; the first is what it does
    quick: bool = False  # its last stage took no time to speak of

    def can_take(self) -> bool:
        """Return whether it does nothing, or soon will if it gets no other stage before."""
        return self.is_ready and len(self.given) < (2 if self.quick else 1)


@dataclass(frozen=True)
class _Given:
    """A stage that a worker has got, when, and in how many bytes."""

    planned: Planned
    since: float
    sent: int


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
        self._recent = Recent[wire.Result](_ROOM)  # what has come back, as it came
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
        """Give each worker what it can take, as long as there is anything."""
        ready = [worker for worker in self._workers.values() if worker.can_take()]
        for worker in sorted(ready, key=lambda worker: len(worker.given)):
            planned = self._queue.take(worker.has)
            if planned is None and not worker.given:
                planned = self._call_back()
            if planned is None:
                return
            self._begin(planned.stage.label())
            self._send(worker, planned, worker.has)

    def _call_back(self) -> Planned | None:
        """Return a stage that waits behind one that takes longer than was thought, if any does."""
        now = time.perf_counter()
        for worker in self._workers.values():
            if len(worker.given) > 1:
                task, waits = list(worker.given.items())[-1]
                if now - waits.since > _QUICK:
                    del worker.given[task]
                    self._cluster.forget(task)
                    return waits.planned
        return None

    def _send(self, worker: _Worker, planned: Planned, has: Collection[str]) -> None:
        """Send a worker a stage, with those of its needs that it has not.

        Of these no arrays that the stage does not read. What lacks some has a key of its own: a
        stage that reads all is never taken to have it.
        """
        needs, sent = dict(planned.needs), {}
        for name, key in planned.needs.items():
            if key in has:
                continue
            result = self._result(key)
            read = {n: array for n, array in result.arrays.items() if n not in planned.unread}
            if len(read) < len(result.arrays):
                needs[name] = f"{key} without {','.join(planned.unread)}"
                result = wire.Result(read, result.facts)
            sent[needs[name]] = result
        stage = wire.packed_stage(planned.stage)
        message = wire.encode(wire.Task(key=planned.key, stage=stage, needs=needs, sent=sent))
        label, kind = planned.stage.label(), type(planned.stage).__name__
        task = self._cluster.work(worker.address, label, kind, message)
        worker.given[task] = _Given(planned, time.perf_counter(), len(message))
        worker.has.update(sent)

    def _result(self, key: str) -> wire.Result:
        result = self._recent.get(key)
        if result is None:
            result = wire.packed_made(self._queue.result(key))
            self._recent.keep(key, result, result.nbytes)
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
        self._cluster.forget(event.task)
        given = worker.given.pop(event.task, None)
        if given is None:  # it was called back
            return []
        worker.quick = time.perf_counter() - given.since < _QUICK
        return self._answer(worker, given, event)

    def _leave(self, worker: _Worker) -> list[Outcome]:
        """Return what becomes of the stage that a lost worker ran; others have not begun."""
        self._dismiss(worker)
        given = [one.planned for one in worker.given.values()]
        for planned in given[1:]:
            self._queue.give_back(planned)
        said = f"its worker {worker.address} went away"
        return [Outcome(one.key, "died", f"{one.stage.label()}: {said}") for one in given[:1]]

    def _dismiss(self, worker: _Worker) -> None:
        for task in (worker.hiring, *worker.given):
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
        for given in worker.given.values():
            self._queue.give_back(given.planned)
        self._dismiss(worker)

    def _answer(self, worker: _Worker, given: _Given, event: Answered | Failed) -> list[Outcome]:
        """Return how a stage ended."""
        planned, label = given.planned, given.planned.stage.label()
        if isinstance(event, Failed):
            said = f"{label}: lost at {worker.address} ({event.why})"
            return [Outcome(planned.key, "died", said)]
        how, value = event.value
        if how != "answered":  # and its memory is lost
            worker.has.clear()
            said = f"{label}: stopped after {self._timeout or 0:g} s"
            if how == "died":
                said = f"{label}: its process at {worker.address} {value.decode(errors='replace')}"
            return [Outcome(planned.key, how, said)]
        answer = wire.decode(value, wire.Answer)
        worker.has.difference_update(answer.dropped, answer.lacks)
        if answer.status == "lacks":
            self._send(worker, planned, ())
            return []
        if answer.status == "halted":
            self._queue.give_back(planned)
            self._refuse(worker, f"cannot go on: {answer.message}")
            return []
        made = None
        if answer.made is not None:
            made = wire.unpacked_made(answer.made)
            worker.has.add(planned.key)
            self._recent.keep(planned.key, answer.made, answer.made.nbytes)
            self._say_where(worker, planned, made.facts)
        self._record(worker, given, len(value), made.facts["seconds"] if made else None)
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

    def _record(self, worker: _Worker, given: _Given, received: int, seconds: float | None) -> None:
        planned, away = given.planned, time.perf_counter() - given.since
        self._queue.record(
            {
                "key": planned.key, "stage": type(planned.stage).__name__,
                "needs": list(planned.needs.values()), "worker": worker.address,
                "machine": worker.machine, "seconds": seconds, "away": away,
                "sent": given.sent, "received": received, "at": time.time(),
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


def _start(context: Context, dask: Dask, n_local: int | None, folder: Path) -> wire.Start:
    """Return what each process is told at first; ``n_local`` workers are on this machine."""
    data, grid = context.dataset, context.grid
    if n_local is not None:
        share_data(data, folder)
    given: dict[str, Any] = {}
    if context.given is not None:
        given = _given(grid.model) | {"identity": context.given.given.identity}
    return wire.Start(
        grid=wire.packed_grid(grid),
        data=_everywhere(grid.dataset) if n_local is None else str(folder),
        shared=n_local is not None,
        data_name=data.name,
        fingerprint=data.fingerprint,
        like=likeness(packages_of(context)),
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
