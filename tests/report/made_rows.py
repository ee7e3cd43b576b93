"""Made-up rows, and results of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastadv import threat
from fastadv.grid.result import GridResult
from fastadv.grid.row import Figure, Row
from fastadv.grid.several import join
from fastadv.grid.worst import Worst
from fastadv.metrics import wilson_interval
from fastadv.threat import Threat

DEFENSES = ("none", "adv_training", "knn_relabel", "median", "bit_depth")
TRAINED = DEFENSES[:3]  # there is no wrapper that an attack could be oblivious of
LINF = threat.linf(0.1)


def figure(value: float, n: int = 1000, n_runs: int = 1) -> Figure:
    """A share of n images, with Wilson's interval."""
    return Figure(value, *wilson_interval(value * n, n), n, n_runs)


def clean(defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {
        "kind": "none",
        "n": 10000,
        "clean_accuracy": 0.981,
        "attacked_accuracy": 0.981,
        "weights": "one model",
    }
    return _row("none", defense, seed, values | changes)


def evasion(attack: str = "pgd", defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {
        "kind": "evasion",
        "threat": LINF,
        "n": 1000,
        "clean_accuracy": 0.981,
        "attacked_accuracy": 0.421,
        "distances": {"linf": 0.1, "l2": 2.0},
        "weights": "one model",
    }
    return _row(attack, defense, seed, values | changes)


def stadv(defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {"threat": threat.flow(30), "distances": {"linf": 0.9, "flow_loss": 26.94}}
    return evasion("stadv", defense, seed, **(values | changes))


def poisoning(attack: str = "biggio", defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {
        "kind": "poisoning",
        "threat": threat.poison(0.03),
        "n": 10000,
        "clean_accuracy": 0.981,
        "attacked_accuracy": 0.95,
        "baseline_accuracy": 0.976,
    }
    return _row(attack, defense, seed, values | changes)


def undone(row: Row, status: str, reason: str | None) -> Row:
    row.status, row.reason, row.n = status, reason, 0
    row.attacked_accuracy = None
    return row


def _row(attack: str, defense: str, seed: int, values: dict[str, Any]) -> Row:
    """Return the row of values, where a number stands for a figure of the row's images."""
    name = f"{attack}-{defense}-{seed}".replace("[", "_").replace("]", "_")
    values = {"dataset": "mnist", "model": "mlp", "id": name} | values
    for key, value in values.items():
        if key.endswith(("_accuracy", "_rate")) and isinstance(value, float):
            values[key] = figure(value, values["n"])
    return Row(attack=attack, defense=defense, seed=seed, **values)


def worst_case(
    accuracy: float = 0.31, defense: str = "none", threat: Threat = LINF, n_runs: int = 1,
    attacks: tuple[str, ...] = ("pgd", "fgsm"), missing: tuple[str, ...] = (), n: int = 1000,
) -> Worst:  # fmt: skip
    return Worst(threat, defense, figure(accuracy, n, n_runs), attacks, missing)


def joined(rows: Sequence[Row]) -> list[Row]:
    """Return one row a cell of rows of one run each, of whose images nothing is kept."""
    return join(rows, lambda _: None)


def result(
    rows: Sequence[Row], worst: Sequence[Worst] = (), grid: dict[str, Any] | None = None
) -> GridResult:
    return GridResult(tuple(joined(rows)), tuple(rows), tuple(worst), grid or {})


def full_grid(defenses: tuple[str, ...] = DEFENSES) -> list[Row]:
    """Every kind of row, each cell at its tallest and widest."""
    rows = [clean(d) for d in defenses]
    long = "stadv[tau=0.05,kappa=0,search=false,keep=last]"
    for attack in ("noise", "pgd", long):
        limit = threat.flow(30) if attack == long else LINF
        distances = {"flow_loss": 26.94}
        rows += [
            evasion(
                attack, d, threat=limit, distances=distances,
                oblivious_accuracy=None if d in TRAINED else 0.612,
            )
            for d in defenses
        ]  # fmt: skip
    return rows + [poisoning(defense=d) for d in defenses]
