"""Test accuracy after trainings of so many epochs: our schedules, and scikit-learn's default.

    OPENBLAS_NUM_THREADS=1 python results/training-curve/curve.py DATASET... --json FILE [...]

A dataset is what `fastadv.load_dataset` takes; Debian's package dataset-fashion-mnist puts
Fashion-MNIST into /usr/share/datasets/fashion-mnist. Every point is a training of its own, for a
rate that falls knows where it ends. Times are processor seconds of one thread, on both sides: start
it with OPENBLAS_NUM_THREADS=1. Prints a table in Markdown; each training is kept when it is done,
and not run again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as ScikitLearn

from fastadv import Dataset, MLPClassifier, load_dataset
from fastadv.threads import one_blas_thread, set_threads

SEEDS = range(5)
EPOCHS = (1, 2, 3, 5, 8, 10, 15, 20)
THEIR_EPOCHS = (1, 5, 10, 20, 50, 200)
OURS = ("constant", "linear", "cooldown")
THEIRS = "scikit-learn"


def trained(name: str, epochs: int, seed: int) -> Any:
    """Return the model of a column, untrained."""
    if name == THEIRS:
        return ScikitLearn((128,), activation="logistic", max_iter=epochs, random_state=seed)
    return MLPClassifier(learning_rate=name, max_iter=epochs, random_state=seed)  # type: ignore[arg-type]


def measure(data: Dataset, name: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train once and return the test accuracy and the processor seconds."""
    model, start = trained(name, epochs, seed), time.process_time()
    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.x_train, data.y_train)
        seconds = time.process_time() - start
        accuracy = float(model.score(data.x_test, data.y_test))
    return {
        "dataset": data.name, "name": name, "epochs": epochs, "seed": seed,
        "accuracy": accuracy, "seconds": seconds,
    }  # fmt: skip


def measure_all(datasets: list[str], names: list[str], path: Path) -> list[dict[str, Any]]:
    """Run what the file does not hold yet, and return everything."""
    done: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    kept = {(run["dataset"], run["name"], run["epochs"], run["seed"]) for run in done}
    for spec in datasets:
        data = load_dataset(spec)
        for name in names:
            for epochs in THEIR_EPOCHS if name == THEIRS else EPOCHS:
                for seed in SEEDS:
                    if (data.name, name, epochs, seed) not in kept:
                        done.append(measure(data, name, epochs, seed))
                        path.write_text("[\n" + ",\n".join(map(json.dumps, done)) + "\n]\n")
    return done


def cell(runs: list[dict[str, Any]], dataset: str, name: str, epochs: int) -> str:
    """Return the mean, the standard deviation over seeds and the seconds, or nothing."""
    found = [r for r in runs if (r["dataset"], r["name"], r["epochs"]) == (dataset, name, epochs)]
    if len(found) < 2:
        return ""
    accuracies = [100 * run["accuracy"] for run in found]
    seconds = fmean(run["seconds"] for run in found)
    return f"{fmean(accuracies):.2f} ± {stdev(accuracies):.2f} ({seconds:.1f} s)"


def table(runs: list[dict[str, Any]]) -> str:
    """Return a table in Markdown for each dataset."""
    lines = []
    for dataset in dict.fromkeys(run["dataset"] for run in runs):
        own = [run for run in runs if run["dataset"] == dataset]
        names = [name for name in (*OURS, THEIRS) if any(run["name"] == name for run in own)]
        lines += [
            f"{dataset}",
            "",
            f"| epochs | {' | '.join(names)} |",
            "|---" * (len(names) + 1) + "|",
        ]
        for epochs in sorted({run["epochs"] for run in own}):
            cells = [cell(own, dataset, name, epochs) for name in names]
            lines.append(f"| {epochs} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw the means of each dataset over the epochs."""
    from matplotlib import pyplot

    datasets = list(dict.fromkeys(run["dataset"] for run in runs))
    figure, axes = pyplot.subplots(
        1, len(datasets), figsize=(4.5 * len(datasets), 3.5), squeeze=False
    )
    for dataset, axis in zip(datasets, axes[0], strict=True):
        for name in (*OURS, THEIRS):
            own = [run for run in runs if (run["dataset"], run["name"]) == (dataset, name)]
            epochs = sorted({run["epochs"] for run in own})
            means = [fmean(run["accuracy"] for run in own if run["epochs"] == n) for n in epochs]
            if own:
                axis.plot(epochs, [100 * mean for mean in means], marker=".", label=name)
        axis.set(title=dataset, xlabel="epochs", ylabel="test accuracy, %", xscale="log")
        axis.set_xticks((1, 2, 5, 10, 20, 50, 200), labels=("1", "2", "5", "10", "20", "50", "200"))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--scikit-learn", action="store_true")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    set_threads(1)
    names = [*OURS, *([THEIRS] if given.scikit_learn else [])]
    runs = measure_all(given.datasets, names, given.json)
    print(table(runs))
    if given.plot is not None:
        plot(runs, given.plot)


if __name__ == "__main__":
    main()
