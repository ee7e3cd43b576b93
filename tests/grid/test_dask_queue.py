"""What becomes of stages when workers come, go, forget and die: on a cluster that is played here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import SMALL_MLP, numbers, write_npz

from fastadv.errors import InputError
from fastadv.grid.context import Context
from fastadv.grid.executors import dask as executor
from fastadv.grid.executors import remote, wire
from fastadv.grid.executors.base import Queue
from fastadv.grid.executors.cluster import Answered, Event, Failed, Joined, Left
from fastadv.grid.executors.dask import Dask
from fastadv.grid.executors.recent import Recent
from fastadv.grid.plan import Plan, Planned
from fastadv.grid.result import GridResult
from fastadv.grid.run import run_grid
from fastadv.grid.stages.base import Made
from fastadv.grid.stages.training import Take
from fastadv.grid.store import Store

ATTACKS, DEFENSES = ["fgsm", "label_flip[points=6]"], ["none", "median"]


@dataclass(frozen=True)
class Waiting:
    """A stage that a worker has got."""

    worker: str
    task: str
    number: int
    told: wire.Task

    def answer(self, how: str, value: bytes) -> list[Event]:
        return [Answered(self.worker, self.task, (how, value))]


@dataclass
class Played:
    """A cluster whose workers run what they got here, one a turn, when events are asked for.

    ``upset`` may turn what happens into something else: it returns the events instead, or None.
    """

    names: list[str]
    upset: Callable[[Played, Waiting], list[Event] | None] = lambda *_: None
    ready: wire.Ready = field(default_factory=lambda: wire.Ready(processor="ours"))
    room: int = 1 << 20
    address: str = "tcp://played:1"
    now: float = 0.0  # seconds; a turn takes 10 ms
    ahead: list[Event] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    memory: dict[str, Recent[Made]] = field(default_factory=dict)
    ran: dict[str, str] = field(default_factory=dict)  # where each stage ran, by its key
    sent: list[wire.Task] = field(default_factory=list)
    let_gone: list[str] = field(default_factory=list)
    context: Context | None = None

    def __post_init__(self) -> None:
        self.ahead += [Joined(name) for name in self.names]

    def hire(self, worker: str, start: bytes, n_threads: int, timeout: float | None) -> str:
        told = wire.decode(start, wire.Start)
        self.context = self.context or remote.prepared(told, told.like)
        self.memory[worker] = Recent(self.room)
        self.ahead.append(Answered(worker, f"ready {worker}", wire.encode(self.ready)))
        return f"ready {worker}"

    def work(self, worker: str, label: str, kind: str, message: bytes) -> str:
        told = wire.decode(message, wire.Task)
        task = f"{kind} {len(self.sent)} {label}"
        self.waiting.append(Waiting(worker, task, len(self.sent), told))
        self.sent.append(told)
        return task

    def forget(self, task: str) -> None:
        self.waiting = [one for one in self.waiting if one.task != task]

    def let_go(self, worker: str) -> None:
        self.let_gone.append(worker)

    def events(self) -> list[Event]:
        self.now += 0.01
        if self.ahead:
            ahead, self.ahead = self.ahead, []
            return ahead
        assert self.waiting, "nothing will ever happen"
        next_one = self.waiting.pop(0)
        instead = self.upset(self, next_one)
        if instead is not None:
            return instead
        assert self.context is not None
        assert next_one.told.key not in self.ran, "a stage runs twice"
        done = remote.run(next_one.told, self.memory[next_one.worker], self.context)
        if done.status != "lacks":
            self.ran[next_one.told.key] = next_one.worker
        return next_one.answer("answered", wire.encode(done))


def once(number: int, end: Callable[[Waiting], list[Event]]) -> Any:
    """The stage that is sent as this one ends otherwise."""
    return lambda _, one: end(one) if one.number == number else None


def lost(*numbers: int) -> Any:
    """The worker of each of these stages goes, and another one comes."""

    def upset(_: Played, one: Waiting) -> list[Event] | None:
        return [Left(one.worker), Joined(f"{one.worker}'")] if one.number in numbers else None

    return upset


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., GridResult]:
    dataset = write_npz(tmp_path / "small.npz")

    def run(played: Played | None, **options: Any) -> GridResult:
        @contextmanager
        def connected(*_: object) -> Iterator[Played]:
            assert played is not None
            yield played

        clock = SimpleNamespace(perf_counter=lambda: played.now if played else 0.0, time=time.time)
        monkeypatch.setattr(executor, "connected", connected)
        monkeypatch.setattr(executor, "processor", lambda _: "ours")
        monkeypatch.setattr(executor, "time", clock)
        dask = None if played is None else Dask(played.address, **options)
        return run_grid(
            attacks=ATTACKS, defenses=DEFENSES, model=SMALL_MLP, samples=20, repeats=2,
            dataset=dataset, jobs=1, executor=dask,
        )  # fmt: skip

    return run


Run = Callable[..., GridResult]


def test_stages_run_on_all_workers(grid: Run) -> None:
    played = Played(["a", "b", "c"])
    assert numbers(grid(played)) == numbers(grid(None))
    assert set(played.ran.values()) == {"a", "b", "c"}


def test_a_worker_is_sent_nothing_that_it_has(grid: Run) -> None:
    played = Played(["a"])
    assert numbers(grid(played)) == numbers(grid(None))
    assert all(not task.sent for task in played.sent)


def test_a_stage_goes_where_most_of_its_needs_are(tmp_path: Path) -> None:
    needs = {"first": "a", "second": "b", "both": "ab", "nothing": ""}
    stages = {
        key: Planned(key, Take(None, None, 0), {need: need for need in letters})  # type: ignore[arg-type]
        for key, letters in needs.items()
    }
    queue = Queue(Plan(stages), Store(tmp_path))  # what they need is kept from before
    taken = [queue.take(near) for near in ({"b"}, {"a", "b"}, set(), {"b"}, {"c"})]
    assert [one and one.key for one in taken] == ["second", "both", "first", "nothing", None]


def test_what_a_worker_has_forgotten_is_sent_again(grid: Run) -> None:
    played = Played(["a"], room=3000)
    assert numbers(grid(played)) == numbers(grid(None))
    assert any(task.sent for task in played.sent)


def test_what_a_worker_has_lost_without_a_word_is_sent_again(grid: Run) -> None:
    def restarted(cluster: Played, one: Waiting) -> None:
        cluster.memory[one.worker] = Recent(1 << 20)

    played = Played(["a"], upset=restarted)
    assert numbers(grid(played)) == numbers(grid(None))


def test_a_row_is_sent_no_images_that_it_does_not_read(grid: Run) -> None:
    def restarted(cluster: Played, one: Waiting) -> None:
        told = one.told
        bare = "perturb 0" in told.needs and told.stage["cell"]["defense"][0] == "none"
        if bare and not told.sent:  # the next stage is of a wrapper, which is shown the images
            cluster.memory[one.worker] = Recent(1 << 20)

    played = Played(["a"], upset=restarted)
    assert numbers(grid(played)) == numbers(grid(None))
    kinds = {
        (task.stage["stage"], name)
        for task in played.sent
        for result in task.sent.values()
        for name in result.arrays
    }
    assert ("Measure", "is_adv") in kinds
    assert ("Measure", "x_adv") not in kinds
    assert ("Perturb", "x_adv") in kinds


def test_what_waits_behind_a_slow_stage_goes_elsewhere(grid: Run) -> None:
    elsewhere: list[bool] = []

    def upset(cluster: Played, one: Waiting) -> list[Event] | None:
        if one.number == 8 and not elsewhere:
            behind = [other.told.key for other in cluster.waiting if other.worker == one.worker]
            assert len(behind) == 1  # since the worker was quick so far
            elsewhere.append(False)
            cluster.now += 1000
            cluster.waiting.append(one)  # nothing is heard of it before all else has ended
            return []
        if one.number == 8:
            rest = [other for other in cluster.waiting if other.worker == one.worker]
            elsewhere[0] = not rest
        return None

    played = Played(["a", "b"], upset=upset)
    assert numbers(grid(played)) == numbers(grid(None))
    assert elsewhere == [True]


@pytest.mark.parametrize("number", [0, 1, 2, 5, 9])
def test_what_a_lost_worker_ran_runs_elsewhere(grid: Run, number: int) -> None:
    assert numbers(grid(Played(["a", "b"], upset=lost(number)))) == numbers(grid(None))


def test_what_waits_behind_a_lost_stage_has_not_died(grid: Run) -> None:
    # One worker after another goes; each time a second stage waits there that has not begun.
    played = Played(["a"], upset=lost(3, 6, 9, 12))
    assert numbers(grid(played)) == numbers(grid(None))
    assert len(played.let_gone) == 4


def test_a_stage_whose_workers_are_lost_twice_fails_alone(grid: Run) -> None:
    def upset(_: Played, one: Waiting) -> list[Event] | None:
        stage = one.told.stage
        deadly = stage["stage"] == "Perturb" and stage["fit"]["seed"] == 1 and stage["adaptive"]
        return [Left(one.worker), Joined(f"{one.worker}'")] if deadly else None

    result = grid(Played(["a", "b"], upset=upset))
    failed = [row for row in result.runs if row.status == "failed"]
    assert {(row.attack, row.seed) for row in failed} == {("fgsm", 1)}
    assert all("went away, twice" in str(row.reason) for row in failed)
    assert {row.status for row in result.runs if row not in failed} == {"ok"}


def test_a_process_that_dies_at_a_worker_is_no_lost_worker(grid: Run) -> None:
    died = once(4, lambda one: one.answer("died", b"was ended by SIGKILL"))
    played = Played(["a", "b"], upset=died)
    assert numbers(grid(played)) == numbers(grid(None))
    assert played.let_gone == []


def test_a_task_that_dask_loses_runs_again(grid: Run) -> None:
    failed = once(4, lambda one: [Failed(one.worker, one.task, "KilledWorker: ...")])
    assert numbers(grid(Played(["a"], upset=failed))) == numbers(grid(None))


def test_a_stage_that_takes_too_long_fails_its_cells_alone(grid: Run) -> None:
    late = once(0, lambda one: one.answer("timeout", b""))
    result = grid(Played(["a"], upset=late), timeout=7.0)
    reasons = {row.reason for row in result.runs if row.status == "timeout"}
    assert [str(reason).rpartition(": ")[2] for reason in reasons] == ["stopped after 7 s"]
    assert {row.status for row in result.runs} == {"ok", "timeout"}


def test_workers_of_another_processor_are_told_in_rows(grid: Run) -> None:
    notes: list[str] = []
    theirs = Played(["a"], ready=wire.Ready(processor="theirs"))
    result = grid(theirs, mixed=True, note=notes.append)
    assert all("mixed_processors" in {note.name for note in row.notes} for row in result.runs)
    assert "the worker a has another processor: theirs" in notes


def test_a_row_says_where_what_it_stands_on_was_made(grid: Run) -> None:
    def upset(cluster: Played, one: Waiting) -> list[Event] | None:
        if one.number != 1:
            return None
        cluster.ready = wire.Ready(processor="ours")  # of the next worker
        return [Left(one.worker), Joined(f"{one.worker}'")]

    played = Played(["a"], upset=upset, ready=wire.Ready(processor="theirs"))
    result = grid(played, mixed=True)
    first = next(iter(played.ran))  # the one stage that ran there
    users = {task.key for task in played.sent if first in task.needs.values()}
    told = {row.id for row in result.runs if row.notes and row.notes[-1].name == "mixed_processors"}
    assert told
    assert users & {row.id for row in result.runs} <= told < {row.id for row in result.runs}


def test_workers_that_are_refused_end_the_run(grid: Run) -> None:
    with pytest.raises(InputError, match="the worker a has another numba"):
        grid(Played(["a"], ready=wire.Ready(refused="has another numba")))


def test_a_worker_that_cannot_go_on_gets_no_more(grid: Run) -> None:
    def full(one: Waiting) -> list[Event]:
        said = wire.Answer(key=one.told.key, status="halted", message="/tmp: no space")
        return one.answer("answered", wire.encode(said))

    notes: list[str] = []
    there = grid(Played(["a", "b"], upset=once(2, full)), note=notes.append)
    assert numbers(there) == numbers(grid(None))
    assert any("cannot go on: /tmp: no space" in note for note in notes)
    with pytest.raises(InputError, match="the worker a cannot go on"):
        grid(Played(["a"], upset=once(2, full)))
