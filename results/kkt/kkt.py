"""What biggio's points take from scikit-learn's models of ten classes, beside random flips.

    python results/kkt/kkt.py measure --seeds 0 10 --lines results/kkt/kkt.jsonl
    python results/kkt/kkt.py table results/kkt/kkt.jsonl

`measure` writes a line a victim and share of poison, and goes on where it has ended. Each seed has
300 training and 500 validation images of MNIST of its own, drawn from the 60,000; all are judged
by the 10,000 test images. scikit-learn trains every victim, as the estimators below are written.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from fastadv import load_dataset, make_attack
from fastadv.models.adapters.scikit import Scikit

VICTIMS: dict[str, Any] = {
    "LogisticRegression(max_iter=2000)": LogisticRegression(max_iter=2000),
    'SVC(kernel="linear")': SVC(kernel="linear"),
    "SVC()": SVC(),
}
FRACTIONS = (0.01, 0.05)
TRAIN, VAL, STEPS = 300, 500, 25


def measure(seeds: range, path: Path) -> None:
    """Append a line a victim and share of poison: accuracies on the test images, in %."""
    ds = load_dataset("mnist")
    X_all = np.concatenate([ds.x_train, ds.x_val])
    y_all = np.concatenate([ds.y_train, ds.y_val])
    lines = path.read_text().splitlines() if path.exists() else []
    known = {(r["model"], r["fraction"], r["seed"]) for r in map(json.loads, lines)}

    def accuracy(model: Any, X: Any, y: Any) -> float:
        right = clone(model).fit(X, y).predict(ds.x_test) == ds.y_test
        return round(100 * float(right.mean()), 2)

    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(len(X_all))[: TRAIN + VAL]
        X, y = X_all[rows], y_all[rows]
        data = X[:TRAIN], y[:TRAIN], X[TRAIN:], y[TRAIN:]
        for name, model in VICTIMS.items():
            clean = accuracy(model, *data[:2])
            for fraction in FRACTIONS:
                if (name, fraction, seed) in known:
                    continue
                start = time.process_time()
                attack = make_attack(f"biggio[fraction={fraction},steps={STEPS}]")
                found = attack.poison(Scikit(model), *data, task=ds.task, seed=seed)
                seconds = time.process_time() - start
                flips = attack.baseline(TRAIN).poison(Scikit(model), *data, task=ds.task, seed=seed)
                line = {
                    "model": name, "fraction": fraction, "seed": seed, "clean": clean,
                    "biggio": accuracy(model, found.X, found.y),
                    "flips": accuracy(model, flips.X, flips.y),
                    "loss": [round(float(found.history[k]), 4) for k in (0, -1)],
                    "labels": found.details["labels"], "seconds": round(seconds, 1),
                }  # fmt: skip
                with path.open("a") as out:
                    out.write(json.dumps(line) + "\n")


def interval(values: Any) -> str:
    """Return the mean and its 95 % interval (Student's t over seeds)."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.1f} ± {half:.1f}"


def table(path: Path) -> None:
    """Print errors with intervals over seeds, and what biggio takes more, paired by seed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    print("| model | poison | clean | random flips | biggio | difference | seeds | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in VICTIMS:
        for fraction in FRACTIONS:
            some = [r for r in lines if (r["model"], r["fraction"]) == (name, fraction)]
            if len(some) < 2:
                continue
            error = {
                who: 100 - np.array([r[who] for r in some]) for who in ("clean", "flips", "biggio")
            }
            more, seconds = (
                error["biggio"] - error["flips"],
                np.median([r["seconds"] for r in some]),
            )
            cells = [interval(error[who]) for who in error] + [interval(more)]
            print(
                f"| `{name}` | {100 * fraction:g} % | {' | '.join(cells)} | {len(some)} "
                f"| {seconds:.0f} |"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "table"))
    parser.add_argument("path", nargs="?", default="results/kkt/kkt.jsonl")
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 10))
    parser.add_argument("--lines", default="results/kkt/kkt.jsonl")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.what == "measure":
        measure(range(*asked.seeds), Path(asked.lines))
    else:
        table(Path(asked.path))


if __name__ == "__main__":
    main()
