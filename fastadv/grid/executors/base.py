"""What every executor keeps to: it takes stages from a queue, runs them, and hands back outcomes.

The queue knows what is ready, keeps what was made, and decides what becomes of a failure, so that
an executor only says where a stage runs. It may run `attempt` in any process, on any machine: it
needs what the stage takes, not the folder. Only the queue's own process writes.
"""

from __future__ import annotations

import time
import warnings
from bisect import insort
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from sklearn.exceptions import ConvergenceWarning

from fastadv.errors import GradientWarning, InputError
from fastadv.grid.context import Context
from fastadv.grid.failures import AGAIN, message, of_the_place
from fastadv.grid.plan import Plan, Planned
from fastadv.grid.row import Row
from fastadv.grid.stages.base import Inputs, Made
from fastadv.grid.store import Store

Begin = Callable[[str], None]

TRAVELS = "travels.jsonl"  # of each stage that ran on another machine its times and sizes
_CHOICE = 64  # stages among which one is chosen for what is near


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: ``ok``, ``failed``, ``timeout``, its process ``died``, or ``halted``.

    What halts it is a fault of the place, which ends the run and is no result.
    """

    key: str
    status: str
    message: str | None = None
    made: Made | None = None


class Executor(Protocol):
    """A place where stages run."""

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        """Run all stages of the queue, and return how each stage ended; ``begin`` gets labels."""
        ...


def attempt(planned: Planned, inputs: Inputs, context: Context) -> Outcome:
    """Run a stage, in whatever process; of what it warns rows have flags and notes instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", GradientWarning)
        start = time.perf_counter()
        try:
            made = planned.stage.compute(inputs, context)
            seconds = time.perf_counter() - start
            return Outcome(planned.key, "ok", made=_plain(made, seconds))
        except Exception as error:  # a failing cell is a row; the grid goes on
            halts = of_the_place(error)
            said = f"{planned.stage.label()}: {halts or message(error)}"
            return Outcome(planned.key, "halted" if halts else "failed", said)


def _plain(made: Made, seconds: float) -> Made:
    """Return what a stage made in a form that can be kept, and how long it took.

    Raises
    ------
    InputError
        If an array holds objects.
    """
    for name, array in made.arrays.items():
        if array.dtype.hasobject:
            raise InputError(f"{name} holds objects; only numbers and text can be kept")
    facts = msgspec.json.encode(made.facts | {"seconds": seconds}, enc_hook=lambda x: x.item())
    return Made(made.arrays, msgspec.json.decode(facts))


class Queue:
    """The stages of a plan, each to be taken once what it needs is there.

    ``rows`` fills with those of the cells that have been measured, by id.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self._store = plan, store
        self.rows: dict[str, Row] = {}
        self._place = {key: place for place, key in enumerate(plan.stages)}
        self._waiting = dict(plan.stages)
        self._taken: set[str] = set()
        self._died: set[str] = set()
        self._lacks: dict[str, int] = {}  # how many of its needs are to come
        self._behind: dict[str, list[str]] = {key: [] for key in plan.stages}  # that need it
        for key, planned in plan.stages.items():
            to_come = set(planned.needs.values()) & plan.stages.keys()
            self._lacks[key] = len(to_come)
            for needed in to_come:
                self._behind[needed].append(key)
        # In the order of the plan, by place.
        self._ready = [place for key, place in self._place.items() if not self._lacks[key]]
        self._keys = list(plan.stages)

    def __bool__(self) -> bool:
        """Return whether a stage is waiting or taken."""
        return bool(self._waiting or self._taken)

    def take(self, near: set[str] | frozenset[str] = frozenset()) -> Planned | None:
        """Return a stage that can run now; None if there is none, or not yet.

        Of the first that can, the one of whose needs the most have their keys in ``near``.
        """
        if not self._ready:
            return None
        first = [self._keys[place] for place in self._ready[: _CHOICE if near else 1]]
        needs = [near.intersection(self._waiting[key].needs.values()) for key in first]
        chosen = max(range(len(first)), key=lambda i: len(needs[i]))
        del self._ready[chosen]
        self._taken.add(first[chosen])
        return self._waiting.pop(first[chosen])

    def give_back(self, planned: Planned) -> None:
        """Take a stage again that has not ended."""
        self._taken.discard(planned.key)
        self._waiting[planned.key] = planned
        insort(self._ready, self._place[planned.key])

    def inputs(self, planned: Planned) -> Inputs:
        """Return what a stage takes.

        Raises
        ------
        InputError
            If it has been removed meanwhile.
        """
        return {name: self.result(key, planned.unread) for name, key in planned.needs.items()}

    def result(self, key: str, without: Collection[str] = ()) -> Made:
        """Return what a stage made that has ended, but for some arrays.

        InputError is raised as by `inputs`.
        """
        made = self._store.load_stage(key, without)
        if made is None:
            raise self._store.halted(f"{self._store.folder}/stages/{key}.npz has gone")
        return made

    def record(self, travelled: Mapping[str, Any]) -> None:
        """Leave a line in the folder on a stage that ran elsewhere."""
        self._store.append(TRAVELS, travelled)

    def end(self, outcome: Outcome) -> list[Outcome]:
        """Keep what a stage made; return how it ended, and with it those that wait for it in vain.

        A stage whose process died goes back for a second try.

        Raises
        ------
        InputError
            If a fault of the place has halted it, or what it made cannot be kept.
        """
        if outcome.status == "halted":
            raise self._store.halted(str(outcome.message))
        if outcome.status == "died" and outcome.key not in self._died:
            self._died.add(outcome.key)
            self.give_back(self.plan.stages[outcome.key])
            return []
        self._taken.discard(outcome.key)
        if outcome.status == "ok":
            assert outcome.made is not None
            self._keep(outcome.key, outcome.made)
            self._free(outcome.key)
            return [outcome]
        if outcome.status == "died":
            outcome = Outcome(outcome.key, "failed", f"{outcome.message}, twice ({AGAIN})")
        return [outcome, *self._blocked(outcome)]

    def _free(self, key: str) -> None:
        """Let those begin that have waited for this stage alone."""
        for behind in self._behind[key]:
            self._lacks[behind] -= 1
            if not self._lacks[behind] and behind in self._waiting:
                insort(self._ready, self._place[behind])

    def _keep(self, key: str, made: Made) -> None:
        if key not in self.plan.cells:
            self._store.save_stage(key, made)
            return
        self.rows[key] = msgspec.convert(made.facts["row"], Row)
        self._store.save_row(self.rows[key], made.arrays)
        for freed in self.plan.stages[key].frees:
            self._store.forget_stage(freed)

    def _blocked(self, why: Outcome) -> list[Outcome]:
        """Take out the stages that need one that ended badly, and return that they did as well."""
        blocked, behind = [], deque(self._behind[why.key])
        while behind:
            key = behind.popleft()
            if self._waiting.pop(key, None) is not None:
                blocked.append(Outcome(key, why.status, why.message))
                behind.extend(self._behind[key])
        return blocked
