"""Disks that fill up, a few of those of ``full_disks.py``: they need root, for a tmpfs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL_MLP, write_npz

from fastadv import run_grid, warmup
from fastadv.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from full_disks import LARGER, disk, kept_rows, resize, used

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.geteuid() == 0), reason="mounts, which root may"
)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "full"
    try:
        with disk(folder):
            yield folder
    except subprocess.CalledProcessError:
        pytest.skip("root may not mount here")


def grid(tmp_path: Path, output: Path, **options: Any) -> Any:
    data = tmp_path / "d.npz"
    return run_grid(
        dataset=data if data.exists() else write_npz(data), attacks="fgsm,noise",
        defenses="none,median", model=SMALL_MLP, samples=20, repeats=1, output=output, **options,
    )  # fmt: skip


def test_results_that_fill_a_disk_lose_no_row_and_go_on(tmp_path: Path, full: Path) -> None:
    grid(tmp_path, tmp_path / "undisturbed")
    said = []
    for pages in (0, 3, 12, 25, 40):
        results = full / str(pages)
        results.mkdir()
        resize(full, used(full) + max(1, pages) * 4096)
        try:
            grid(tmp_path, results)
        except InputError as error:
            said.append((results, str(error)))
        finished = {path: path.read_bytes() for path in results.glob("cells/*.json")}
        assert not any(b'"failed"' in content for content in finished.values())
        resize(full, LARGER)
        grid(tmp_path, results)
        assert kept_rows(results) == kept_rows(tmp_path / "undisturbed")
        assert all(path.read_bytes() == content for path, content in finished.items())
        assert not list(results.rglob("*.fastadv-tmp"))
    assert len(said) >= 4
    assert all(str(results) in line and "\n" not in line for results, line in said)


def test_a_temporary_folder_that_fills_up_is_named(
    tmp_path: Path, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    monkeypatch.setattr("fastadv.grid.executors.processes.Processes.check_room", lambda *_: None)
    resize(full, 2 * 4096)
    with pytest.raises(InputError, match=f"in {full}: .* are needed; set TMPDIR"):
        grid(tmp_path, tmp_path / "o", jobs=2)
    assert list(full.iterdir()) == []


@pytest.mark.slow
@pytest.mark.compiled
def test_a_cache_that_fills_up_is_named_and_not_taken_for_warm(
    full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(full))
    monkeypatch.setattr(warmup._jit, "CACHE_FOLDER", full / "none")
    resize(full, 4 * 4096)
    with pytest.raises(InputError, match=f"cannot be kept in {full}.* set NUMBA_CACHE_DIR"):
        warmup.warm_up(names=["none"])
    assert list(full.rglob("*.warm")) == []
