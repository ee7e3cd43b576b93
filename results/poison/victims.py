"""What poison costs victims, one training seed after another, and the figures that are made of it.

    python results/poison/victims.py measure mnist none --seeds 7000 7060 --lines new.jsonl
    python results/poison/victims.py table old.jsonl new.jsonl

`measure` writes a line a victim, and goes on where it has ended; it runs with older versions of
fastadv, too. `table` pairs victims by seed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from fastadv import MLPClassifier, load_dataset, make_attack, make_defense

AGAIN = 10_000  # added to a seed: another victim of the same draw


def trained(seed: int, X: Any, y: Any, ds: Any, defense: Any) -> Any:
    """Return the model as its users meet it, trained with the defense."""
    model = MLPClassifier(random_state=seed)
    if hasattr(defense, "sanitize"):
        keep, labels = defense.sanitize(X, y, task=ds.task, seed=seed)
        X, y = X[keep], labels[keep]
    fitted = hasattr(defense, "fit")
    model = defense.fit(model, X, y, task=ds.task, seed=seed) if fitted else model.fit(X, y)
    return defense.wrap(model, task=ds.task) if hasattr(defense, "wrap") else model


def measure(dataset: str, defense: str, seeds: range, path: Path) -> None:
    """Append a line a victim: its accuracy without poison, with flips and with biggio, in %."""
    ds, made, name = load_dataset(dataset), make_defense(defense), Path(dataset).name
    lines = path.read_text().splitlines() if path.exists() else []
    known = {(r["dataset"], r["defense"], r["seed"]) for r in map(json.loads, lines)}
    biggio, flips, plan = make_attack("biggio"), make_attack("label_flip"), None
    data = ds.x_train, ds.y_train, ds.x_val, ds.y_val
    told: dict[str, Any] = {}
    if "defense" in inspect.signature(biggio.poison).parameters and defense != "none":
        told = {"defense": made}

    def accuracy(seed: int, X: Any, y: Any) -> float:
        right = trained(seed, X, y, ds, made).predict(ds.x_test) == ds.y_test
        return round(100 * float(right.mean()), 2)

    for seed in seeds:
        if (name, defense, seed) in known:
            continue
        model = MLPClassifier(random_state=seed)
        if hasattr(biggio, "scout"):  # the same for every seed, as in a grid
            plan = biggio.scout(model, *data, task=ds.task, **told) if plan is None else plan
            told["plan"] = plan
        poison = biggio.poison(model, *data, task=ds.task, seed=seed, **told)
        control = flips.poison(model, *data, task=ds.task, seed=seed)
        line = {
            "dataset": name, "defense": defense, "seed": seed,
            "clean": accuracy(seed, *data[:2]), "flips": accuracy(seed, control.X, control.y),
            "biggio": accuracy(seed, poison.X, poison.y),
        }  # fmt: skip
        if defense == "none":
            again = seed + AGAIN
            line["again"] = [accuracy(again, *data[:2]), accuracy(again, poison.X, poison.y)]
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def table(old: Path, new: Path) -> None:
    """Print both versions, the shares of draw and training, and biggio against random flips."""
    before, after = read(old), read(new)
    seeds = sorted(s for d, c, s in before if (d, c) == ("mnist", "none") and (d, c, s) in after)
    losses = []
    for name, rows in (("old", before), ("new", after)):
        own = [rows["mnist", "none", seed] for seed in seeds]
        lost = np.array([row["clean"] - row["biggio"] for row in own])
        again = np.array([row["again"][0] - row["again"][1] for row in own])
        training = float(((lost - again) ** 2).mean() / 2)
        draw = float(((lost + again) / 2).var(ddof=1)) - training / 2
        losses.append(lost)
        print(
            f"mnist, none, {name}: {len(seeds)} victims, points lost {lost.mean():.2f} ± "
            f"{lost.std(ddof=1):.2f} (least {lost.min():.2f}, most {lost.max():.2f}); variance of "
            f"training {training:.4f}, of the draw {draw:.4f}"
        )
    gap = losses[1] - losses[0]
    ratio = losses[1].var(ddof=1) / losses[0].var(ddof=1)
    n = len(seeds)
    print(f"new - old: {gap.mean():+.2f}, 95 % lower bound {lower(gap):+.2f}")
    print(
        f"ratio of variances: {ratio:.2f}, 95 % upper bound "
        f"{ratio / stats.f.ppf(0.05, n - 1, n - 1):.2f}"
    )
    print("\npoints lost to biggio minus points lost to as many random flips")
    for dataset, defense in sorted({(d, c) for d, c, _ in after}):
        rows = [row for (d, c, _), row in after.items() if (d, c) == (dataset, defense)]
        more = np.array([row["flips"] - row["biggio"] for row in rows])
        bound = f"{lower(more):+.2f}" if len(more) > 1 else "unknown"
        print(
            f"{dataset:14} {defense:13} {len(rows):3} seeds {more.mean():+7.2f}, "
            f"95 % lower bound {bound}"
        )


def lower(values: Any) -> float:
    """Return the one-sided 95 % lower bound of the mean."""
    n = len(values)
    return float(values.mean() - stats.t.ppf(0.95, n - 1) * values.std(ddof=1) / np.sqrt(n))


def read(path: Path) -> dict[tuple[str, str, int], Any]:
    """Return the lines of a file by data set, defense and seed."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {(row["dataset"], row["defense"], row["seed"]): row for row in rows}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    ways = parser.add_subparsers(dest="way", required=True)
    measuring = ways.add_parser("measure")
    measuring.add_argument("dataset")
    measuring.add_argument("defense")
    measuring.add_argument("--seeds", nargs=2, type=int, default=(7000, 7060))
    measuring.add_argument("--lines", type=Path, required=True)
    printing = ways.add_parser("table")
    printing.add_argument("old", type=Path)
    printing.add_argument("new", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.way == "measure":
        measure(asked.dataset, asked.defense, range(*asked.seeds), asked.lines)
    else:
        table(asked.old, asked.new)


if __name__ == "__main__":
    main()
