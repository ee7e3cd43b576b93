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
NEAREST = {
    "kernels": ["tests/kernels"],
    "certificates": ["tests/defenses", "tests/grid"],
    "gates": ["tests/report", "tests/grid", "tests/cli"],
    "statistics": ["tests/test_metrics.py", "tests/report", "tests/grid"],
    "budgets": ["tests/test_threat.py", "tests/kernels", "tests/attacks"],
}
TIMEOUT, CRASH = "no end", "pytest was killed"
SOON, LONG = 900, 3600  # seconds after which tests of a few folders, and all of them, do not end


def steps(fault: dict) -> list[tuple[dict[str, str], list[str], int]]:
    """The runs that together are the whole suite, the cheapest that may catch the fault first."""
    near, kernels = NEAREST[fault["area"]], ["tests/kernels"]
    rest = [(BOUNDS, kernels, SOON), (COMPILED, ["tests"], LONG), (UNCOMPILED, ["tests"], LONG)]
    if fault["area"] == "kernels":
        return [(UNCOMPILED, kernels, SOON), (COMPILED, kernels, SOON), *rest]
    return [(COMPILED, near, SOON), *rest[1:]]  # the bounds of unchanged kernels are checked anyway


# -- the run --------------------------------------------------------------------------------


def planted(text: str, fault: dict) -> str | None:
    """The source with the fault in it; None if it has no such line."""
    lines = text.splitlines(keepends=True)
    places = [k for k, line in enumerate(lines) if line.strip() == fault["was"]]
    nth = fault.get("nth", 1)
    if len(places) < nth:
        return None
    at = places[nth - 1]
    lines[at] = lines[at].replace(fault["was"], fault["now"])
    return "".join(lines)


def run_tests(
    copy: Path, cache: Path, mode: dict[str, str], arguments: list[str], seconds: int
) -> str | None:
    """Run tests of the copy up to the first that fails; return its name, None if there is none."""
    environment = {
        **os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(cache), **mode,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-x", "-rfE", "--tb=no", *arguments]
    with subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as tests:  # fmt: skip
        try:
            out, _ = tests.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(tests.pid, signal.SIGKILL)
            return TIMEOUT
    if tests.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", out, re.MULTILINE)
    return failed[1] if failed else f"{CRASH} ({tests.returncode})"


def caught_by(fault: dict, copy: Path, caches: Path) -> str | None:
    """Plant a fault, look for a test that fails for it alone, and take it out again."""
    file, own, kept = copy / fault["file"], caches / "own", caches / "kept"
    text, times = file.read_text(encoding="utf-8"), file.stat()
    faulty, cache = planted(text, fault), own if fault["area"] == "kernels" else kept
    fails_anyway: list[str] = []
    for mode, folders, seconds in steps(fault):
        while True:
            file.write_text(faulty, encoding="utf-8")
            skipped = [f"--deselect={name}" for name in fails_anyway]
            failed = run_tests(copy, cache, mode, [*folders, *skipped], seconds)
            file.write_text(text, encoding="utf-8")
            os.utime(
                file, ns=(times.st_atime_ns, times.st_mtime_ns)
            )  # what is compiled stays valid
            shutil.rmtree(own, ignore_errors=True)
            if failed is None:
                break
            alone = failed.startswith((TIMEOUT, CRASH)) or run_tests(
                copy, kept, mode, [failed], SOON
            )
            if alone in (True, None):
                how = " ".join(f"{name}={value}" for name, value in mode.items()) or "compiled"
                return f"{failed}, {how}"
            print(f"    fails without the fault, too: {failed}", flush=True)
            fails_anyway.append(failed)
    return None


def run(only: set[int], report: Path | None) -> None:
    """Plant the faults of the list and say what caught each."""
    faults = tomllib.loads(LIST.read_text(encoding="utf-8"))["fault"]
    caught, survived = 0, 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        copy, caches = Path(folder, "copy"), Path(folder, "caches")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "*cache*"))
        where = [sys.executable, "-c", "import fastadv; print(fastadv.__file__)"]
        used = subprocess.run(where, cwd=folder, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=True).stdout  # fmt: skip
        if not used.startswith(str(copy)):
            sys.exit(f"the tests would run {used.strip()}, not the copy in {copy}")
        for number, fault in enumerate(faults, start=1):
            if "equivalent" in fault or (only and number not in only):
                continue
            if planted((copy / fault["file"]).read_text(encoding="utf-8"), fault) is None:
                said = "no longer applies"
            else:
                found = caught_by(fault, copy, caches)
                said = found or "SURVIVED"
                caught, survived = caught + bool(found), survived + (not found)
            told = (str(fault[name]) for name in ("area", "kind", "file", "was", "now"))
            line = " | ".join((str(number), *told, said))
            print(line, flush=True)
            if report:
                with report.open("a", encoding="utf-8") as stream:
                    stream.write(line + "\n")
    print(f"{caught} caught, {survived} survived")
    sys.exit(1 if survived else 0)


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
