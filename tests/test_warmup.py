"""Compiling ahead: what is compiled, and that another process's machine code is taken over whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastadv import warmup
from fastadv.kernels import _jit


def test_a_grid_compiles_what_it_runs() -> None:
    groups = list(warmup._groups({"mlp", "biggio", "fgsm", "median"}))
    assert groups == ["training", "training's derivative", "fgsm", "median"]
    assert "support vector machines" in warmup._groups({"svm", "biggio"})
    assert set(groups) < set(warmup._groups(None))


def test_names_that_are_split_off_exist() -> None:
    assert set(warmup._APART) < set(warmup._groups(None))


def test_adopted_code_is_whole_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours / "kernels_1", theirs / "kernels_1"):
        folder.mkdir(parents=True)
        for name in ("both.f-1.py311.nbi", "both.f-1.py311.1.nbc"):
            (folder / name).write_text(folder.parent.name)
    for name in ("new.g-2.py311.nbi", "new.g-2.py311.1.nbc", "new.g-2.py311.2.nbc"):
        (theirs / "kernels_1" / name).write_text("theirs")
    monkeypatch.setattr(_jit, "CACHE_FOLDER", ours)
    warmup._adopt(theirs)
    found = {file.name: file.read_text() for file in (ours / "kernels_1").iterdir()}
    assert found == {
        "both.f-1.py311.nbi": "ours",
        "both.f-1.py311.1.nbc": "ours",
        "new.g-2.py311.nbi": "theirs",
        "new.g-2.py311.1.nbc": "theirs",
        "new.g-2.py311.2.nbc": "theirs",
    }


def test_another_process_that_fails_is_told_of() -> None:
    with (
        pytest.raises(RuntimeError, match="compiling no such group failed: KeyError"),
        warmup._compiling_apart(["no such group"]),
    ):
        pass
