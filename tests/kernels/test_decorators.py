"""What the decorators of kernels promise for all of them."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import pytest
from numba.core.registry import CPUDispatcher

import fastadv.kernels


def dispatchers(module: ModuleType) -> list[Any]:
    return [thing for thing in vars(module).values() if isinstance(thing, CPUDispatcher)]


def modules() -> list[ModuleType]:
    path = fastadv.kernels.__path__
    return [
        importlib.import_module(f"fastadv.kernels.{m.name}") for m in pkgutil.iter_modules(path)
    ]


@pytest.mark.compiled
def test_a_fast_kernel_has_one_meaning_for_all_its_callers() -> None:
    # Not inlined, a caller's copy of it would be replaced by whichever was loaded first.
    every = {id(kernel): kernel for module in modules() for kernel in dispatchers(module)}
    assert len(every) > 50
    for kernel in every.values():
        options = kernel.targetoptions
        assert options["fastmath"] is False or options.get("parallel") or options["forceinline"]
