"""Plant faults in the code one by one, and say which test catches each: the proof of the tests.

From a clone, after `make .venv/test.done`:

    .venv/bin/python tests/faults/plant.py draw SEED N    candidates, printed as faults.toml has them
    .venv/bin/python tests/faults/plant.py run [--only K,K,...] [--report FILE]

The faults of `faults.toml` are kept by their source line, so that one list serves any commit. Those
that change no figure at all carry the reason under `equivalent`, and are not run. The checkout is
copied to a temporary folder and stays as it is. A fault is caught by a test that fails with it and
passes without, or by tests that no longer end; it survives if the whole suite passes, uncompiled,
compiled and with checked bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from sites import ROOT, draw

LIST = Path(__file__).with_name("faults.toml")

UNCOMPILED, COMPILED, BOUNDS = {"NUMBA_DISABLE_JIT": "1"}, {}, {"NUMBA_BOUNDSCHECK": "1"}
# The whole suite, and before it, for each area, what may well catch a fault and is soon done.
PLAIN = ["-m", "uncompiled"]  # what runs as plain Python, too
WHOLE = [(BOUNDS, ["tests/kernels"]), (COMPILED, ["tests"]), (UNCOMPILED, ["tests", *PLAIN])]
NEAREST = {
    "kernels": [(UNCOMPILED, ["tests/kernels", *PLAIN]), (COMPILED, ["tests/kernels"])],
    "certificates": [(COMPILED, ["tests/defenses", "tests/grid"])],
    "gates": [(COMPILED, ["tests/report", "tests/grid", "tests/cli"])],
    "statistics": [
        (COMPILED, ["tests/test_metrics.py", "tests/test_runs.py", "tests/report", "tests/grid"])
    ],
    "budgets": [(COMPILED, ["tests/test_threat.py", "tests/kernels", "tests/attacks"])],
    "rows": [
        (COMPILED, ["tests/test_columns.py", "tests/datasets", "tests/attacks", "tests/grid"])
    ],
    "models": [(COMPILED, ["tests/models", "tests/grid"])],
    "files": [
        (COMPILED, ["tests/test_files.py", "tests/datasets", "tests/robustness", "tests/grid"])
    ],
}
NO_END, KILLED = "no end", "pytest itself ended"
STALE, SURVIVED = "no longer applies", "SURVIVED"
PATIENCE = {True: 900, False: 5400}  # seconds that tests have, up to the first that fails and all


def planted(text: str, faults: list[dict]) -> str | None:
    """The source with the faults in it; None if it has no such line."""
    lines = text.splitlines(keepends=True)
    stripped = [line.strip() for line in lines]
    for fault in faults:
        places = [k for k, line in enumerate(stripped) if line == fault["was"]]
        nth = fault.get("nth", 1)
        if len(places) < nth:
            return None
        at = places[nth - 1]
        lines[at] = lines[at].replace(fault["was"], fault["now"])
    return "".join(lines)


class Copy:
    """A copy of the checkout, its tests, and its compiled kernels."""

    def __init__(self, folder: Path) -> None:
        self.root, self.caches = folder / "copy", folder / "caches"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        self.environment = {
            **os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"
        }  # fmt: skip
        show = [sys.executable, "-c", "import fastadv; print(fastadv.__file__)"]
        used = subprocess.check_output(show, cwd=folder, env=self.environment, text=True)
        if not used.startswith(str(self.root)):
            sys.exit(f"the tests would run {used.strip()}, not the copy {self.root}")

    def faulty(self, faults: list[dict]) -> str | None:
        """The faults' file with them in it; None if it has no such line, or is gone."""
        path = self.root / faults[0]["file"]
        return planted(path.read_text(encoding="utf-8"), faults) if path.exists() else None

    def failures(
        self, faults: list[dict], mode: dict[str, str], tests: list[str], first: bool = True
    ) -> list[str]:
        """Plant the faults, run tests, and take them out again; return the tests that failed."""
        kept, own = self.caches / "kept", self.caches / "own"
        cache = own if any(fault["area"] == "kernels" for fault in faults) else kept
        before = {}
        for file in {fault["file"] for fault in faults}:
            path = self.root / file
            before[path] = path.read_text(encoding="utf-8"), path.stat().st_mtime_ns
            new = self.faulty([fault for fault in faults if fault["file"] == file])
            path.write_text(new, encoding="utf-8")
        found = self._run({"NUMBA_CACHE_DIR": str(cache), **mode}, tests, first)
        for path, (text, changed) in before.items():
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(changed, changed))  # so that what is compiled stays valid
        shutil.rmtree(own, ignore_errors=True)
        return found

    def _run(self, mode: dict[str, str], tests: list[str], first: bool) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-rfE", "--tb=no", *["-x"] * first, *tests]
        with subprocess.Popen(
            command, cwd=self.root, env={**self.environment, **mode}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as running:  # fmt: skip
            try:
                out, _ = running.communicate(timeout=PATIENCE[first])
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                return [NO_END]
        if running.returncode == 0:
            return []
        failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", out, re.MULTILINE)
        return failed or [f"{KILLED} ({running.returncode})"]

    def catch(self, fault: dict, mode: dict[str, str], tests: list[str]) -> str | None:
        """Return what says that there is a fault: the first of the tests that fails for it alone."""
        found = self.failures([fault], mode, tests)
        if not found:
            return None
        again = tests if found[0].startswith(KILLED) else found
        if found != [NO_END] and self.failures([], mode, again):
            print(f"    fails without the fault, too: {found[0]}", flush=True)
            return None
        return ", ".join([found[0], *(f"{name}={value}" for name, value in mode.items())])


def run(only: set[int], report: Path | None) -> None:
    """Plant the faults of the list and say what caught each.

    Those that the nearest tests do not catch are planted together for a run of the whole suite: it
    is long, and seldom finds more.
    """
    listed = enumerate(tomllib.loads(LIST.read_text(encoding="utf-8"))["fault"], start=1)
    faults = {k: f for k, f in listed if "equivalent" not in f and (not only or k in only)}
    said: dict[int, str] = {}

    def say(number: int, what: str) -> None:
        said[number] = what
        told = (faults[number][name] for name in ("area", "kind", "file", "was", "now"))
        line = " | ".join((str(number), *told, what))
        print(line, flush=True)
        if report:
            with report.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")

    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        copy = Copy(Path(folder))
        for number, fault in faults.items():
            if copy.faulty([fault]) is None:
                say(number, STALE)
                continue
            found = (copy.catch(fault, *step) for step in NEAREST[fault["area"]])
            if caught := next(filter(None, found), None):
                say(number, caught)
        for mode, tests in WHOLE:
            rest = {number: fault for number, fault in faults.items() if number not in said}
            failed = copy.failures(list(rest.values()), mode, tests, first=False) if rest else []
            if failed:
                print(f"    of {len(rest)} faults together: {failed}", flush=True)
            if any(name.startswith((NO_END, KILLED)) for name in failed):
                failed = tests  # then each by itself
            for number, fault in rest.items():
                if failed and (caught := copy.catch(fault, mode, failed)):
                    say(number, caught)
    for number in faults.keys() - said.keys():
        say(number, SURVIVED)
    survived, stale = (sum(what == one for what in said.values()) for one in (SURVIVED, STALE))
    print(f"{len(said)} faults, {survived} survived, {stale} no longer apply")
    sys.exit(1 if survived or stale else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Plant faults, and see which test catches each.")
    commands = parser.add_subparsers(dest="command", required=True)
    drawing, running = commands.add_parser("draw"), commands.add_parser("run")
    drawing.add_argument("seed", type=int)
    drawing.add_argument("n", type=int)
    running.add_argument("--only", default="", help="numbers of faults, from 1, with commas")
    running.add_argument("--report", type=Path)
    given = parser.parse_args()
    if given.command == "draw":
        for fault in draw(given.seed, given.n):
            print("[[fault]]", *(f"{k} = {json.dumps(v)}" for k, v in fault.items()), "", sep="\n")
    else:
        run({int(k) for k in given.only.split(",") if k}, given.report)
