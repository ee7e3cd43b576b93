"""The suites of ``fastadv bench``: which races are run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

from fastadv.benchmarks.race import Race

_PEERS = ("training", "evasion", "stadv", "mlp_poisoning", "svm_poisoning")


def _races(*modules: str) -> list[Race]:
    """Import the modules, and return the races of each."""
    imported = [importlib.import_module(f"fastadv.benchmarks.{name}") for name in modules]
    return [race for module in imported for race in module.races()]


SUITES: dict[str, Callable[[], list[Race]]] = {
    "kernels": partial(_races, "kernels"),
    "training": partial(_races, "training"),
    "attacks": partial(_races, "attacks"),
    "given": partial(_races, "given"),
    "peers": partial(_races, *(f"peers.{name}" for name in _PEERS)),
}
