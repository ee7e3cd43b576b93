"""``kill -9`` of one worker of a grid: ``python tests/robustness/worker_kills.py --moments 30``.

At random moments of a run with ``--jobs 2``, also while a worker starts or imports, one is killed.
What it ran is tried once more: every row has to be that of a run that nothing disturbed. Then every
worker is killed as soon as it is there, so that a stage dies twice: rows fail, the run goes on to
its end, and the same command mends them. Needs Linux's /proc. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from kills import kept_rows, start


def workers(program: Popen[bytes]) -> list[int]:
    """Return the processes that run the stages of a grid."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        return [int(child) for child in children if _serves(int(child))]
    return []


def _serves(process: int) -> bool:
    with contextlib.suppress(OSError):
        return b"executors.processes:serve" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def kill(process: int) -> bool:
    """Kill a process; return whether it was there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def ended(program: Popen[bytes], each: Callable[[], None]) -> tuple[int, str]:
    """Call ``each`` again and again until a program ends; return its code and what it said."""
    while program.poll() is None:
        each()
        time.sleep(0.02)
    _, errors = program.communicate()
    return program.returncode, errors.decode(errors="replace")


def one_killed(place: Path, after: float, which: int) -> tuple[bool, list[str], Path]:
    """Kill one worker so many seconds after the first of them is there.

    Return whether one was killed, what was wrong, and the results.
    """
    results, temporary = place / "results", place / "tmp"
    temporary.mkdir()
    program, since, killed = start(results, temporary, 2), 0.0, False

    def each() -> None:
        nonlocal since, killed
        there = workers(program)
        since = since or (time.monotonic() if there else 0.0)
        if since and not killed and there and time.monotonic() - since >= after:
            killed = kill(there[which % len(there)])

    code, errors = ended(program, each)
    faults = [] if code == 0 else [f"ended with code {code}: {errors[-500:]}"]
    faults += ["a traceback"] * ("Traceback" in errors)
    return killed, faults + [f"left {path}" for path in temporary.iterdir()], results


def all_killed(place: Path) -> tuple[list[str], Path]:
    """Kill every worker when it is there, then run once more; return what was wrong."""
    results, temporary = place / "results", place / "tmp"
    temporary.mkdir()
    program = start(results, temporary, 2)
    code, errors = ended(program, lambda: [kill(one) for one in workers(program)] and None)
    faults = [] if code == 1 else [f"ended with code {code}: {errors[-500:]}"]
    status = {row["status"] for row in kept_rows(results).values()}  # type: ignore[index]
    faults += [f"rows are {status}"] * (status != {"failed"})
    again, said = ended(start(results, temporary, 2), lambda: None)
    faults += [f"does not go on: {said[-500:]}"] * (again != 0)
    return faults + [f"left {path}" for path in temporary.iterdir()], results


def main() -> int:
    """Kill at so many moments; print each fault; return 1 if there was one."""
    options = argparse.ArgumentParser()
    options.add_argument("--moments", type=int, default=30)
    options.add_argument("--longest", type=float, default=6.0, help="seconds")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    draw, wrong, kills = random.Random(given.seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tmp").mkdir()
        code, said = ended(start(place / "undisturbed", place / "tmp", 1), lambda: None)
        if code:
            sys.exit(said)
        rows = kept_rows(place / "undisturbed")
        for moment in range(given.moments + 1):
            here = place / str(moment)
            here.mkdir()
            if moment == given.moments:
                faults, results = all_killed(here)
            else:
                after = draw.uniform(0, given.longest)
                killed, faults, results = one_killed(here, after, moment)
                kills += killed
            faults += ["its rows are others"] * (kept_rows(results) != rows)
            for fault in faults:
                wrong += 1
                print(f"moment {moment}: {fault}", flush=True)
    print(f"{kills} workers killed at {given.moments} moments, then all of one run, {wrong} faults")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
