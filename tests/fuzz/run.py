"""Fuzz what reads files from outside: ``python tests/fuzz/run.py --inputs 100000``.

Each kind of file gets a share of the inputs, in processes of its own that are ended if they hang. An
input that finds something is written to ``--keep``; the same ``--seed`` gives the same inputs.

``coverage_guided.py`` does it for one kind by what code an input reaches.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import mutate
from targets import TARGETS, Target
from watch import fault_of

_SLICE = 5000  # inputs of one process
_WALL = 3600.0  # seconds that it may take


def slice_of(target: Target, seed: int, n: int, keep: Path) -> Counter[str]:
    """Try n inputs; return how often each fault was found, by its last line."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fastadv-fuzz-") as folder:
        for data in target.valid:  # loads the libraries, whose memory is not that of an input
            fault_of(target, data, Path(folder))
        for i in range(n):
            rng = random.Random(f"{target.name} {seed} {i}")
            data = mutate.mutant(target.valid, target.mutation, rng)
            (keep / f"{target.name}-current").write_bytes(data)
            fault = fault_of(target, data, Path(folder))
            if fault is not None:
                lines = fault.strip().splitlines()
                where = [line.strip() for line in lines if line.strip().startswith("File ")][-1:]
                key = f"{target.name}: {lines[-1][:150]} {' '.join(where)[-100:]}"
                found[key] += 1
                if found[key] == 1:
                    name = f"{target.name}-{hashlib.blake2b(data, digest_size=6).hexdigest()}"
                    (keep / name).write_bytes(data)
                    (keep / f"{name}.txt").write_text(fault, errors="replace")
    (keep / f"{target.name}-current").unlink(missing_ok=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--only", default="", help="kinds, joined by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(".cache/fuzz"))
    parser.add_argument("--slice", nargs=3, metavar=("KIND", "SEED", "N"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    if given.slice:
        kind, seed, n = given.slice
        found = slice_of(TARGETS[kind], int(seed), int(n), given.keep)
        for fault, count in found.most_common():
            print(f"{count:6} {fault}")
        return bool(found)
    names = given.only.split(",") if given.only else list(TARGETS)
    chosen = [TARGETS[name] for name in names if TARGETS[name].there()]
    return _all(chosen, given.inputs, given.seed, given.keep)


def _all(chosen: list[Target], inputs: int, seed: int, keep: Path) -> int:
    """Try every kind, slice by slice; return 1 if one has found something."""
    shares = sum(1 / target.cost for target in chosen)
    failed = tried = 0
    for target in chosen:
        left, start, number = round(inputs / target.cost / shares), time.monotonic(), 0
        total = left
        while left > 0:
            n = min(left, max(20, round(_SLICE / target.cost)))
            done = _child(target.name, seed * 1000 + number, n, keep)
            failed |= done
            left, number = left - n, number + 1
        tried += total
        print(f"{target.name}: {total} inputs, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{tried} inputs, {'faults were found, see ' + str(keep) if failed else 'no fault'}")
    return failed


def _child(name: str, seed: int, n: int, keep: Path) -> int:
    command = [sys.executable, __file__, "--keep", str(keep), "--slice", name, str(seed), str(n)]
    # So that memory that was freed is given back, and the next input is not spared its own.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "0"}
    try:
        return int(
            subprocess.run(command, timeout=_WALL, env=environment, check=False).returncode != 0
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: seed {seed} hangs; its input is {keep / (name + '-current')}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
