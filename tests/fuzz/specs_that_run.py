"""Specs with random parameters, run as a grid of few small images: ``python tests/fuzz/specs_that_run.py``.

A cell may be refused, skipped, or fail with a line that says what is wrong with what was asked for.
An exception of another kind, and a figure that is no number, are faults.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import traceback
import typing
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import UnionType
from typing import Any

import msgspec
import numpy as np
from watch import Hang, limited

from fastadv import registry, run_grid
from fastadv.datasets.dataset import Dataset
from fastadv.errors import DivergenceError, InputError
from fastadv.grid import plan
from fastadv.grid.executors import base

USUAL = (0.01, 0.1, 0.3, 0.5, 0.9, 1.0, 2.0)
FLOATS = (0.0, 1e-320, 1e-9, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0, 2.0, 7.5, 1e6, 1e30, 1e300, -0.1, math.inf, math.nan)  # fmt: skip
SMALL = (1, 2, 3, 5)
INTEGERS = (0, 1, 2, 3, 4, 5, 8, 17, 40, -1)
_MODEL = "mlp[hidden_layer_sizes=5,batch_size=8,max_iter=3"
_SECONDS = 60


SHAPES: dict[str, tuple[int, ...]] = {"grey": (5, 5), "colours": (4, 4, 3), "columns": (4,)}


def few(n_classes: int, kind: str) -> Dataset:
    """Noisy images of bright patches, or rows: 20 of each class to train, and 6 for tests."""
    rng = np.random.default_rng(0)
    centres = rng.random((n_classes, *SHAPES[kind]))

    def some(each: int) -> tuple[Any, Any]:
        y = np.arange(each * n_classes) % n_classes
        x = np.clip(centres[y] + rng.normal(0, 0.2, centres[y].shape), 0, 1)
        return (255 * x).astype(np.uint8), y

    (x, y), (x_test, y_test) = some(20), some(6)
    return Dataset.from_arrays(x, y, x_test=x_test, y_test=y_test, name="few")


def value(kind: Any, rng: random.Random) -> str:
    """Write a value of a parameter's type."""
    if typing.get_origin(kind) in (typing.Union, UnionType):
        return value(rng.choice(typing.get_args(kind)), rng)
    if typing.get_origin(kind) is typing.Literal:
        return str(rng.choice(typing.get_args(kind)))
    if kind is float:
        return repr(rng.choice(USUAL if rng.random() < 0.6 else FLOATS))
    if kind is int:
        return str(rng.choice(SMALL if rng.random() < 0.6 else INTEGERS))
    if kind is bool:
        return rng.choice(("true", "false"))
    if kind is str:
        return rng.choice(("loss", "accuracy", "all", "0", "1"))
    if kind is type(None):
        return "none"
    return "-".join(str(rng.choice((1, 2, 7))) for _ in range(rng.randint(1, 3)))


def spec(what: str, rng: random.Random, name: str = "") -> str:
    """Write a spec of any name, with some of its parameters."""
    name = name or rng.choice([n for n in registry.names(what) if n != "cnn"])
    entry = registry.find(what, name)
    kinds = registry.parameter_kinds(entry.load(), set(entry.nested))
    some = [key for key in kinds if rng.random() < 0.4]
    given = [f"{key}={value(kinds[key], rng)}" for key in some if key != "random_state"]
    if entry.nested and rng.random() < 0.3:
        given += [f"{key}={spec('attack', rng)}" for key in entry.nested]
    return f"{name}[{','.join(given)}]" if given else name


def cell(rng: random.Random) -> dict[str, Any]:
    """Choose what `run_grid` is told, and of which data."""
    if rng.random() < 0.75:
        model = f"{_MODEL},activation={rng.choice(('relu', 'tanh'))}]"
    else:
        model = spec("model", rng)
    return {
        "attacks": spec("attack", rng),
        "defenses": spec("defense", rng),
        "model": model,
        "data": rng.choice(("grey", "grey", "colours", "columns")),
        "samples": rng.choice((1, 5, 12)),
        "repeats": rng.choice((1, 1, 2)),
        "seed": rng.choice((0, 1, 2**31)),
    }


@contextmanager
def tracebacks() -> Iterator[list[str]]:
    """Collect those of exceptions that are no line to the user, as rows keep their last line alone."""
    seen: list[str] = []
    before = base.message

    def recorded(error: BaseException) -> str:
        if not isinstance(error, InputError | DivergenceError):
            seen.append("".join(traceback.format_exception(error, limit=-6)))
        return before(error)

    base.message = plan.message = recorded
    try:
        yield seen
    finally:
        base.message = plan.message = before


def no_numbers(node: Any, where: str = "row") -> Iterator[str]:
    """Yield the places of what is NaN or infinite."""
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from no_numbers(inner, f"{where}.{key}")
    elif isinstance(node, list | tuple):
        for inner in node:
            yield from no_numbers(inner, where)
    elif isinstance(node, float) and not math.isfinite(node):
        yield f"{where} is {node}"


def fault_of(given: dict[str, Any]) -> str | None:
    """Return None, or what is wrong with how a grid of one cell went."""
    asked = dict(given)
    data = few(2 if given["model"].startswith("svm") else 3, asked.pop("data"))
    try:
        with limited(_SECONDS), tracebacks() as seen, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what runs to infinity; its figures are looked at
            rows = list(run_grid(dataset=data, jobs=1, **asked))
    except InputError as error:
        return f"more than a line: {error}" if "\n" in str(error) else None
    except Hang:
        return f"more than {_SECONDS} seconds\n{traceback.format_exc(limit=-8)}"
    except Exception:
        return traceback.format_exc(limit=-6)
    for row in rows:
        shown = {k: v for k, v in msgspec.to_builtins(row).items() if k != "parameters"}
        seen += no_numbers(shown)
    return "\n".join(seen) or None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="say what runs, before it does")
    told = parser.parse_args()
    found: Counter[str] = Counter()
    for i in range(told.inputs):
        given = cell(random.Random(f"{told.seed} {i}"))
        if told.verbose:
            print(i, given, file=sys.stderr, flush=True)
        fault = fault_of(given)
        if fault is not None:
            lines = fault.strip().splitlines()
            key = lines[-1][:150]
            found[key] += 1
            if found[key] == 1:
                print(f"{i}: {given}\n{fault}\n", flush=True)
    print(f"{told.inputs} grids; {sum(found.values())} with a fault, of {len(found)} kinds")
    for fault, count in found.most_common():
        print(f"{count:6} {fault}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
