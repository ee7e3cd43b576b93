"""Signals at many moments of a grid: ``python tests/robustness/signals.py --moments 20``.

For each of INT, TERM and HUP, warm and while kernels compile, to the program alone and to its group.
Each run has to end soon, with the signal's code, without a traceback, and with nothing left behind:
no process, no temporary file, no hidden cursor: standard error is a terminal. Needs Linux's /proc.
Twenty minutes on two cores with 20 moments each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

GRID = ["grid", "--attacks", "pgd,stadv[translation=false],biggio", "--defenses", "none,median",
        "--dataset", "mnist[train=3000,test=600]", "--samples", "300", "--repeats", "2"]  # fmt: skip
SOON = 2.0  # seconds
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"  # the cursor


@dataclass(frozen=True)
class Ended:
    """How a run ended after a signal; ``faults`` says what was wrong with that."""

    seconds: float
    code: int
    faults: tuple[str, ...]


class Terminal:
    """A terminal that a program can be given, and what it has written there."""

    def __init__(self) -> None:
        self._ours, self.given = pty.openpty()
        self._said = bytearray()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the last who had it has closed it
            while said := os.read(self._ours, 4096):
                self._said += said

    def close(self) -> bytes:
        """Return all that was written; a process that lives on and has it is not waited for."""
        os.close(self.given)
        self._reading.join(timeout=5)
        os.close(self._ours)
        return bytes(self._said)


def interrupted(
    number: signal.Signals, after: float, *, to_group: bool, jobs: int, cache: Path, limit: float
) -> Ended | None:
    """Start a grid, send it a signal after so many seconds; None if it had ended before that."""
    mark = f"FASTADV_MARK={uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as place:
        temporary, results = Path(place, "tmp"), Path(place, "results")
        temporary.mkdir()
        given = {"NUMBA_CACHE_DIR": str(cache), "TMPDIR": str(temporary)}
        environment = {**os.environ, **given, **dict([mark.split("=")])}
        terminal = Terminal()
        before = signal.signal(number, signal.SIG_DFL)  # nohup's children would ignore it
        program = subprocess.Popen(
            [sys.executable, "-m", "fastadv", *GRID, "--jobs", str(jobs), "--output", str(results)],
            stdout=subprocess.DEVNULL, stderr=terminal.given, env=environment, process_group=0,
        )  # fmt: skip
        signal.signal(number, before)
        time.sleep(after)
        sent = time.monotonic()
        if program.poll() is not None:
            terminal.close()
            return None
        (os.killpg if to_group else os.kill)(program.pid, number)
        try:
            program.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            terminal.close()
            return Ended(limit, 0, (f"had not ended after {limit:g} s",))
        seconds = time.monotonic() - sent
        left = _processes(mark)
        errors = terminal.close()
        if b"Traceback" in errors and b"/fastadv/" not in errors:
            return None  # Python itself was starting, and had not come to the program
        faults = []
        # Before the program has begun, Python itself ends by a signal's default.
        if program.returncode not in (128 + number, -number):
            faults.append(f"ended with code {program.returncode}")
        if b"Traceback" in errors:
            faults.append(errors.decode(errors="replace"))
        if errors.rfind(HIDE) > errors.rfind(SHOW):
            faults.append("left the cursor hidden")
        if left:
            faults.append(f"left processes {left}")
        kept = [str(path) for path in temporary.iterdir()]
        kept += [str(path) for path in results.rglob("*.fastadv-tmp")]
        if kept:
            faults.append(f"left files {kept}")
        return Ended(seconds, program.returncode, tuple(faults))


def _processes(mark: str, patience: float = 1.0) -> list[str]:
    """Return the processes with a mark in their environment that do not end in a moment."""
    until = time.monotonic() + patience
    while left := [found for path in Path("/proc").glob("[0-9]*") if (found := _of(path, mark))]:
        if time.monotonic() > until:
            return left
        time.sleep(0.02)
    return []


def _of(path: Path, mark: str) -> str:
    try:
        if mark.encode() in (path / "environ").read_bytes().split(b"\0"):
            return (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    except OSError:
        pass
    return ""


def main() -> int:
    """Send signals at so many moments each; print each fault; return 1 if there was one."""
    options = argparse.ArgumentParser()
    options.add_argument("--moments", type=int, default=20)
    options.add_argument(
        "--longest", type=float, default=12.0, help="seconds, of runs that compile"
    )
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    draw, wrong, times = random.Random(given.seed), 0, []
    with tempfile.TemporaryDirectory() as warm:
        for name in ("cold", "warm"):
            begun = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "fastadv", *GRID, "--output", f"{warm}/{name}"], check=True,
                env={**os.environ, "NUMBA_CACHE_DIR": warm}, capture_output=True,
            )  # fmt: skip
            longest = {True: given.longest, False: time.monotonic() - begun}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for compiling in (False, True):
                for moment in range(given.moments):
                    with tempfile.TemporaryDirectory() as cold:
                        ended = interrupted(
                            number, draw.uniform(0, longest[compiling]), to_group=bool(moment % 2),
                            jobs=1 + moment // 2 % 2, cache=Path(cold if compiling else warm),
                            limit=20,
                        )  # fmt: skip
                    if ended is None:
                        continue
                    times.append(ended.seconds)
                    late = [f"took {ended.seconds:.1f} s"] if ended.seconds > SOON else []
                    for fault in (*ended.faults, *late):
                        wrong += 1
                        print(
                            f"{number.name}, compiling {compiling}, {moment}: {fault}", flush=True
                        )
    print(
        f"{len(times)} runs, {wrong} faults; {sorted(times)[len(times) // 2]:.2f} s in the median"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
