"""Made-up rows."""

from __future__ import annotations

from typing import Any

from fastadv.grid.row import Row

DEFENSES = ("none", "adv_training", "knn_relabel", "median", "bit_depth")


def clean(defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {
        "kind": "none",
        "n": 10000,
        "clean_accuracy": 0.981,
        "attacked_accuracy": 0.981,
        "attacked_accuracy_ci95": (0.978, 0.984),
        "weights": "one model",
    }
    return _row("none", defense, seed, values | changes)


def evasion(attack: str = "pgd", defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {
        "kind": "evasion",
        "threat": "linf(0.1)",
        "n": 1000,
        "clean_accuracy": 0.981,
        "attacked_accuracy": 0.421,
        "attacked_accuracy_ci95": (0.391, 0.452),
        "distances": {"linf": 0.1, "l2": 2.0},
        "weights": "one model",
    }
    return _row(attack, defense, seed, values | changes)


def stadv(defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {"threat": "flow(30)", "distances": {"linf": 0.9, "flow_loss": 26.94}}
    return evasion("stadv", defense, seed, **(values | changes))


def poisoning(attack: str = "biggio", defense: str = "none", seed: int = 0, **changes: Any) -> Row:
    values = {
        "kind": "poisoning",
        "threat": "poison(0.03)",
        "n": 10000,
        "clean_accuracy": 0.981,
        "attacked_accuracy": 0.95,
        "attacked_accuracy_ci95": (0.946, 0.954),
        "baseline_accuracy": 0.976,
    }
    return _row(attack, defense, seed, values | changes)


def undone(row: Row, status: str, reason: str | None) -> Row:
    row.status, row.reason, row.n = status, reason, 0
    row.attacked_accuracy = row.attacked_accuracy_ci95 = None
    return row


def _row(attack: str, defense: str, seed: int, values: dict[str, Any]) -> Row:
    name = f"{attack}-{defense}-{seed}".replace("[", "_").replace("]", "_")
    values = {"dataset": "mnist", "model": "mlp", "id": name} | values
    return Row(attack=attack, defense=defense, seed=seed, **values)


def full_grid(defenses: tuple[str, ...] = DEFENSES) -> list[Row]:
    """Every kind of row, each cell at its tallest and widest."""
    rows = [clean(d) for d in defenses]
    long = "stadv[tau=0.05,kappa=0,search=false,keep=last]"
    for attack in ("noise", "pgd", long):
        threat = "flow(30)" if attack == long else "linf(0.1)"
        distances = {"flow_loss": 26.94}
        rows += [
            evasion(attack, d, threat=threat, distances=distances, oblivious_accuracy=0.612)
            for d in defenses
        ]
    return rows + [poisoning(defense=d) for d in defenses]
