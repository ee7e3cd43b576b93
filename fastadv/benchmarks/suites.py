"""The suites of ``fastadv bench``: which races are run."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from fastadv.benchmarks.race import Race

_PEERS = ("training", "evasion", "stadv", "mlp_poisoning", "svm_poisoning")


def _peers() -> list[Race]:
    modules = [importlib.import_module(f"fastadv.benchmarks.peers.{name}") for name in _PEERS]
    return [race for module in modules for race in module.races()]


def _kernels() -> list[Race]:
    from fastadv.benchmarks import kernels

    return kernels.races()


def _training() -> list[Race]:
    from fastadv.benchmarks import training

    return training.races()


def _attacks() -> list[Race]:
    from fastadv.benchmarks import attacks

    return attacks.races()


SUITES: dict[str, Callable[[], list[Race]]] = {
    "kernels": _kernels,
    "training": _training,
    "attacks": _attacks,
    "peers": _peers,
}
