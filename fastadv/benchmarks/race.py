"""Timing things against each other: in turn, warmed up, with the quality that each one reached.

A time on its own says little on a machine that others use too. So the runners of a race take turns,
round after round, and what is kept is the ratio within a round: its median, and its spread.
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

Quality = Mapping[str, float]
# Is timed; returns the quality, or what finds it out once the clock has stopped.
Work = Callable[[], Quality | Callable[[], Quality]]

Above0 = Annotated[float, msgspec.Meta(gt=0.0)]  # what a file says otherwise is refused

ROUNDS = 5
_PAUSE = 0.2  # seconds: the threads of a library go on spinning for a while after its work


@dataclass(frozen=True)
class Runner:
    """One way to do the work of a race.

    Parameters
    ----------
    name : str
        ``fastadv``, or the library.
    prepare : callable
        Imports, builds and compiles; returns the work. That is what is timed, and it returns the
        quality that it reached.
    needs : tuple of str
        Modules that have to be installed.
    install : str
        The command that installs them.
    """

    name: str
    prepare: Callable[[], Work]
    needs: tuple[str, ...] = ()
    install: str = ""

    def absent(self) -> str | None:
        """Return None, or what to do so that it can run."""
        return absent(self.needs, self.install)


def absent(needs: tuple[str, ...], install: str) -> str | None:
    """Return None, or which of the modules are not installed and the command that does it."""
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} is not installed: {install}" if missing else None


@dataclass(frozen=True)
class Race:
    """Some work and the ways to do it, ours first."""

    suite: str
    name: str
    runners: tuple[Runner, ...]


class Lap(msgspec.Struct, kw_only=True):
    """What one runner showed.

    Attributes
    ----------
    ratio : float or None
        Its time over ours: the median over rounds; above 1 we are faster.
    low, high : float or None
        The smallest and the largest ratio of a round.
    seconds : float or None
        The median over rounds.
    quality : dict
        By name; the last round's.
    reason : str or None
        Why it did not run.
    """

    suite: str
    race: str
    runner: str
    ratio: Above0 | None = None
    low: Above0 | None = None
    high: Above0 | None = None
    seconds: Above0 | None = None
    quality: dict[str, float] = {}
    reason: str | None = None


def run(
    race: Race, rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter
) -> list[Lap]:
    """Let the runners of a race take turns; return a lap each, ours first.

    Parameters
    ----------
    rounds : int
        Beyond one that warms up and is not counted.
    clock : callable
        Seconds. `time.process_time` counts the processor's time: on a machine that others use, the
        ratio of two runners of as many threads.
    """
    laps = [Lap(suite=race.suite, race=race.name, runner=runner.name) for runner in race.runners]
    works: dict[int, Work] = {}
    for k, runner in enumerate(race.runners):
        laps[k].reason = runner.absent()
        if laps[k].reason is None:
            works[k] = runner.prepare()
            works[k]()
    times: dict[int, list[float]] = {k: [] for k in works}
    for _ in range(rounds):
        for k, work in works.items():
            gc.collect()
            time.sleep(_PAUSE)
            start = clock()
            quality = work()
            times[k].append(clock() - start)
            laps[k].quality = dict(quality() if callable(quality) else quality)
    for k, seconds in times.items():
        ratios = [other / ours for other, ours in zip(seconds, times[0], strict=True)]
        laps[k].seconds = statistics.median(seconds)
        laps[k].ratio = statistics.median(ratios)
        laps[k].low, laps[k].high = min(ratios), max(ratios)
    return laps
