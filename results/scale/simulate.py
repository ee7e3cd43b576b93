"""Where more workers stop helping: a grid of 10,000 cells, played through from what was measured.

    python results/scale/simulate.py results/scale/stages.json results/scale/costs.json

`stages.json` has a run of 95 cells, stage by stage (`stages.py`). A grid of 106 runs, 10,070 cells,
has these stages 106 times, but for what all runs share. `costs.json` has what the coordinator
spends (`costs.py`). What is played through is `fastadv.grid.executors.dask`: one coordinator that
does one thing at a time, a worker that computes one stage at a time, takes first what needs a
result that it has, and asks for the next when the coordinator has its answer.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = ("Survey",)  # stages that all runs of a grid share


@dataclass(frozen=True)
class Costs:
    """What it takes beside the stages themselves.

    Attributes
    ----------
    stage : float
        Seconds of the coordinator for each stage: choosing, packing, unpacking, what Dask's client
        does, keeping.
    byte : float
        Seconds of the coordinator for each byte of a result that it sends, or gets and keeps.
    trip : float
        Seconds that a message is under way, there and back, without what the coordinator does.
    bandwidth : float
        Bytes a second that leave or reach the coordinator's machine.
    start : float
        Seconds until a worker is ready.
    """

    stage: float
    byte: float
    trip: float
    bandwidth: float = 125e6  # a gigabit
    start: float = 0.0


@dataclass
class Stage:
    """A stage of the grid that is played through."""

    order: int
    seconds: float
    size: int
    needs: list[int]
    needed_by: list[int]


def repeated(measured: list[dict[str, Any]], runs: int) -> list[Stage]:
    """Return the stages of a grid of so many runs, in the order of its plan."""
    stages: list[Stage] = []
    shared: dict[str, int] = {}
    for _ in range(runs):
        place: dict[str, int] = {}
        for one in measured:
            if one["kind"] in SHARED and one["key"] in shared:
                place[one["key"]] = shared[one["key"]]
                continue
            place[one["key"]] = len(stages)
            if one["kind"] in SHARED:
                shared[one["key"]] = len(stages)
            needs = [place[key] for key in one["needs"] if key in place]
            stages.append(Stage(len(stages), one["seconds"], one["bytes"], needs, []))
    for stage in stages:
        for needed in stage.needs:
            stages[needed].needed_by.append(stage.order)
    return stages


@dataclass(frozen=True)
class Played:
    """How long a grid took, and how long of it the coordinator and its network were busy."""

    makespan: float
    coordinator: float
    link: float


def played(stages: list[Stage], n_workers: int, costs: Costs) -> Played:
    """Play a grid through on so many workers.

    Events are workers that ask; the coordinator serves them one after another.
    """
    missing = [len(stage.needs) for stage in stages]
    ready = [stage.order for stage in stages if not stage.needs]
    heapq.heapify(ready)
    is_ready = set(ready)
    wanted = [len(stage.needed_by) for stage in stages]  # by stages that have not begun
    has: list[set[int]] = [set() for _ in range(n_workers)]
    # (time, number, worker, stage that it has ended or -1)
    events = [(costs.start, w, w, -1) for w in range(n_workers)]
    heapq.heapify(events)
    idle: list[int] = []
    coordinator = link = busy = travelling = 0.0
    left = len(stages)
    number = n_workers
    while left:
        at, _, worker, ended = heapq.heappop(events)
        coordinator = max(coordinator, at)
        if ended >= 0:
            busy += (spent := costs.stage + costs.byte * stages[ended].size)
            coordinator += spent
            left -= 1
            has[worker].add(ended)
            for after in stages[ended].needed_by:
                missing[after] -= 1
                if not missing[after]:
                    heapq.heappush(ready, after)
                    is_ready.add(after)
        idle.append(worker)
        while idle and is_ready:
            asks = idle.pop()
            has[asks] = {key for key in has[asks] if wanted[key]}
            chosen = _near(has[asks], stages, is_ready)
            if chosen is None:
                while ready[0] not in is_ready:
                    heapq.heappop(ready)
                chosen = heapq.heappop(ready)
            is_ready.discard(chosen)
            stage = stages[chosen]
            sent = sum(stages[key].size for key in stage.needs if key not in has[asks])
            has[asks].update(stage.needs)
            for key in stage.needs:
                wanted[key] -= 1
            coordinator += costs.byte * sent
            busy += costs.byte * sent
            travels = (sent + stage.size) / costs.bandwidth
            travelling += travels
            link = max(link, coordinator) + travels
            end = max(coordinator, link) + costs.trip + stage.seconds
            heapq.heappush(events, (end, number, asks, chosen))
            number += 1
    return Played(coordinator, busy, travelling)


def makespan(stages: list[Stage], n_workers: int, costs: Costs) -> float:
    """Return how long a grid takes on so many workers."""
    return played(stages, n_workers, costs).makespan


def _near(has: set[int], stages: list[Stage], is_ready: set[int]) -> int | None:
    """Return the first stage that can run and needs a result of these."""
    near = (after for key in has for after in stages[key].needed_by if after in is_ready)
    return min(near, default=None)


def bounds(stages: list[Stage], costs: Costs) -> dict[str, float]:
    """Return what no number of workers gets below, and the work of one."""
    longest: dict[int, float] = defaultdict(float)
    for stage in stages:
        before = max((longest[key] for key in stage.needs), default=0.0)
        longest[stage.order] = before + stage.seconds + costs.trip + costs.stage
    size = sum(stage.size for stage in stages)
    return {
        "work": sum(stage.seconds for stage in stages),
        "longest chain": max(longest.values()),
        "coordinator": len(stages) * costs.stage + size * costs.byte,
        "link": size / costs.bandwidth,
    }


def main() -> None:
    """Play grids through, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", type=Path)
    parser.add_argument("costs", type=Path)
    parser.add_argument("--runs", type=int, default=106, help="of the cells that were measured")
    parser.add_argument("--bandwidth", type=float, default=125e6, help="bytes a second")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 30, 100, 300, 1000])
    asked = parser.parse_args()
    measured = json.loads(asked.stages.read_text())
    told = json.loads(asked.costs.read_text())
    costs = Costs(told["stage"], told["byte"], told["trip"], asked.bandwidth)
    stages = repeated(measured["stages"], asked.runs)
    found = bounds(stages, costs)
    cells = sum(one["kind"] == "Measure" for one in measured["stages"]) * asked.runs
    print(f"{cells:,} runs of cells, {len(stages):,} stages; seconds:")
    print("; ".join(f"{name} {seconds:,.1f}" for name, seconds in found.items()))
    print("\n| workers | makespan | times one | workers busy | coordinator | network |")
    print("|---|---|---|---|---|---|")
    alone = makespan(stages, 1, costs)
    for n in asked.workers:
        one = played(stages, n, costs)
        took = one.makespan
        shares = (found["work"] / n / took, one.coordinator / took, one.link / took)
        told_shares = " | ".join(f"{100 * share:.0f} %" for share in shares)
        print(f"| {n:,} | {took:,.0f} s | {alone / took:,.1f} | {told_shares} |")


if __name__ == "__main__":
    main()
