"""Compiling ahead: what is compiled, and what is said of another process that cannot."""

from __future__ import annotations

import sys

import pytest

from fastadv import warmup


def test_a_grid_compiles_what_it_runs() -> None:
    groups = list(warmup._groups({"mlp", "biggio", "fgsm", "median"}))
    assert groups == ["training", "training's derivative", "fgsm", "median"]
    assert "support vector machines" in warmup._groups({"svm", "biggio"})
    assert set(groups) < set(warmup._groups(None))


def test_names_that_are_split_off_exist() -> None:
    assert set(warmup._APART) < set(warmup._groups(None))


def test_another_process_that_fails_is_told_of(monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [])  # from which it would import
    compiler = warmup._Compiler(["training"])
    try:
        assert list(compiler.begun()) == []
        with pytest.raises(RuntimeError, match="compiling training failed: ModuleNotFoundError"):
            compiler.end()
    finally:
        compiler.stop()
