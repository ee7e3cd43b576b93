"""One kind of file under atheris, which keeps inputs that reach code that none has reached yet.

``pip install atheris`` (Python 3.11 to 3.13), and ``python tests/fuzz/coverage_guided.py npz 20000``.
What finds something ends the run; it is written to ``.cache/fuzz``.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
FOLDER = Path(tempfile.mkdtemp(prefix="fastadv-fuzz-"))
with atheris.instrument_imports(include=["fastadv"]):  # those inside functions, too
    from mutate import mutant
    from targets import TARGETS
    from watch import fault_of

    target = TARGETS[sys.argv[1]]
    for valid in target.valid:
        fault_of(target, valid, FOLDER)


def one(data: bytes) -> None:
    fault = fault_of(target, data, FOLDER)
    if fault is not None:
        raise RuntimeError(fault)


def changed(data: bytes, longest: int, seed: int) -> bytes:
    rng = random.Random(seed)
    try:
        return mutant([data, *target.valid], target.mutation, rng)[:longest]
    except Exception:  # it is no such file any more, so that its structure cannot be changed
        return mutant(target.valid, target.mutation, rng)[:longest]


def main() -> None:
    corpus, keep = FOLDER / "corpus", Path(".cache/fuzz")
    corpus.mkdir()
    keep.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(target.valid):
        (corpus / str(i)).write_bytes(data)
    options = [f"-runs={sys.argv[2]}", f"-artifact_prefix={keep}/{target.name}-", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
