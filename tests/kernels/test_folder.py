"""The folder of the machine code: one for each processor, and said at once if it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import platformdirs
import pytest

import fastadv
from fastadv.kernels import _folder

pytestmark = pytest.mark.compiled

COMPILES = """
import os, sys
import numpy as np
from fastadv.kernels import _jit
from fastadv.kernels.linalg import exponential
x = np.zeros(3, np.float32)
exponential.exp(x[0])
print(_jit.CACHE_FOLDER, len(list(_jit.CACHE_FOLDER.iterdir())))
"""


def run(home: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.run(
        [sys.executable, "-c", COMPILES],
        env={**kept, "HOME": str(home), **changes}, check=True, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("variable", ["HOME", "NUMBA_CACHE_DIR"])
def test_where_nothing_can_be_written_one_line_says_so_first_and_a_folder_serves_the_run(
    variable: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    before = {path for path in Path(fastadv.__file__).parent.rglob("*") if path.suffix != ".pyc"}
    done = run(tmp_path, **{variable: str(tmp_path / "file" / "home"), "TMPDIR": str(tmp_path)})
    (line,) = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert "compiled kernels cannot be kept (Not a directory" in line
    assert "set NUMBA_CACHE_DIR to a folder that can be written to" in line
    folder, n_files = done.stdout.split()
    assert Path(folder).is_relative_to(tmp_path)
    assert int(n_files) > 0
    assert not Path(folder).exists()  # when the process has ended
    after = {path for path in Path(fastadv.__file__).parent.rglob("*") if path.suffix != ".pyc"}
    assert after == before


def test_a_user_without_a_home_gets_no_folder_named_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: f"~/.cache/{name}")
    with pytest.raises(FileNotFoundError, match="the user has no home folder"):
        _folder._root()
    with pytest.warns(UserWarning, match="cannot be kept .the user has no home folder: ~"):
        folder = _folder.cache_folder()
    assert folder.is_dir()
    assert not list(tmp_path.iterdir())
    assert os.environ["NUMBA_CACHE_DIR"] in str(folder)  # for the processes that this one starts


def test_another_processor_has_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    here = _folder._version()
    assert here == _folder._version()
    monkeypatch.setattr(numba.config, "CPU_NAME", "some other")
    assert _folder._version() != here


def test_a_new_folder_removes_what_nobody_has_used_for_a_month(tmp_path: Path) -> None:
    old, recent, new = tmp_path / "old", tmp_path / "recent", tmp_path / "new"
    for folder in (old, recent):
        folder.mkdir()
    month = _folder._UNUSED_FOLDERS_GO_AFTER
    os.utime(old, (0, old.stat().st_mtime - month - 60))
    os.utime(recent, (0, recent.stat().st_mtime - month + 60))
    _folder._prepare(new)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "recent"]


def test_a_folder_that_is_used_counts_as_new(tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    os.utime(used, (0, 0))
    _folder._prepare(used)
    _folder._prepare(tmp_path / "new")
    assert used.is_dir()


def test_temporary_folders_of_killed_processes_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_folder.tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = {f"fastadv-kernels-{os.getpid()}-a", "fastadv-kernels-1-a", "fastadv-kernels-", "fastadv-kernels-x"}  # fmt: skip
    for name in (*kept, f"fastadv-kernels-{dead.pid}-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.nbc").touch()
    made = Path(_folder._temporary_folder())
    assert {path.name for path in tmp_path.iterdir()} == kept | {made.name}
    assert made.name.startswith(f"fastadv-kernels-{os.getpid()}-")
