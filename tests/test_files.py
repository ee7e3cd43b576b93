"""Files that were written in part or damaged later: never a traceback."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs

from fastadv import files, run_grid
from fastadv.datasets import load_dataset
from fastadv.errors import InputError
from fastadv.files import atomic_write
from fastadv.grid.row import Row
from fastadv.grid.stages.base import Made
from fastadv.grid.store import Store
from fastadv.models.mlp import MLPClassifier


def cell(folder: Path) -> tuple[Path, Callable[[], Any]]:
    store = Store(folder)
    row = Row(id="one", dataset="d", model="m", attack="a", defense="none", seed=0, kind="evasion")
    store.save_row(row, {"sample_ids": np.arange(30), "robust": np.arange(30) % 2 == 0})
    return folder / "cells" / "one.npz", lambda: store.load_row("one")


def model(folder: Path) -> tuple[Path, Callable[[], Any]]:
    weights = [np.eye(3, 2, dtype=np.float32)], [np.zeros(2, np.float32)]
    MLPClassifier.from_weights(*weights).save(folder / "m.npz")
    return folder / "m.npz", lambda: MLPClassifier.load(folder / "m.npz")


def dataset(folder: Path) -> tuple[Path, Callable[[], Any]]:
    X, y = blobs(24)
    images = X.reshape(-1, *TASK.image_shape)
    np.savez_compressed(folder / "d.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    return folder / "d.npz", lambda: load_dataset(folder / "d.npz")


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    weights = [np.eye(3, 2, dtype=np.float32)], [np.zeros(2, np.float32)]
    saved = MLPClassifier.from_weights(*weights)
    for path, error in ((tmp_path / "absent" / "m.npz", FileNotFoundError), (tmp_path, OSError)):
        with pytest.raises(error) as caught:
            saved.save(path)
        assert caught.value.filename == str(path)
        assert str(caught.value).endswith(f"'{path}'")
    assert list(tmp_path.parent.glob(".*.fastadv-tmp")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644)])
def test_a_file_has_the_rights_that_the_user_gives(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with files.atomic_write(tmp_path / "file") as stream:
            stream.write(b"text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_is_of_one_run_at_a_time_and_swept_by_the_next(
    tmp_path: Path, fresh: bool
) -> None:
    asked = {"attacks": "none", "defenses": "none", "dataset": "mnist[train=100,test=50]"}
    (tmp_path / "cells").mkdir()
    left = tmp_path / "cells" / ".0123.fastadv-tmp"
    left.touch()
    with files.locked(tmp_path, ""), pytest.raises(InputError, match="in use by another run; wait"):
        run_grid(**asked, samples=10, repeats=1, output=tmp_path, fresh=fresh)
    assert left.exists()
    with Store(tmp_path).alone():
        assert not left.exists()


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "fastadv-run-other"
    other.mkdir()
    (other / ".lock").touch()
    with pytest.warns(UserWarning, match="no locks in"), files.scratch_folder():
        assert other.exists()  # it may be in use


def test_what_killed_runs_left_in_the_temporary_folder_goes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, just_made, old = (tmp_path / f"fastadv-run-{name}" for name in ("dead", "new", "old"))
    for folder in (dead, just_made, old):
        folder.mkdir()
    (dead / ".lock").touch()
    os.utime(old, (0, 0))
    with files.scratch_folder() as first:
        with files.scratch_folder() as second:
            assert set(tmp_path.iterdir()) == {first, second, just_made}
        assert not second.exists()
    assert list(tmp_path.iterdir()) == [just_made]


@pytest.mark.parametrize("made", [cell, model, dataset])
def test_a_damaged_byte_is_an_input_error_or_a_file_that_is_not_there(
    made: Callable[[Path], tuple[Path, Callable[[], Any]]], tmp_path: Path
) -> None:
    path, read = made(tmp_path)
    whole = path.read_bytes()
    lost = 0
    for place in range(0, len(whole), max(len(whole) // 300, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            lost += read() is None
        except InputError:
            lost += 1
    assert lost > 100


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("kept")
    with atomic_write(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "kept").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "link"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    """A device such as /dev/null would be a file afterwards, for who may write beside it."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in (pipe, link):
            with atomic_write(path) as stream:
                stream.write(b"whole")
            assert path.is_fifo()
            assert os.read(reader, 100) == b"whole"
    finally:
        os.close(reader)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="a system without /dev/fd")
def test_an_open_pipe_is_written_to_by_a_link(tmp_path: Path) -> None:
    """As /dev/stdout is one: where it leads to has no name of its own."""
    reader, writer = os.pipe()
    link = tmp_path / "link"
    link.symlink_to(f"/dev/fd/{writer}")
    try:
        with atomic_write(link) as stream:
            stream.write(b"whole")
        assert os.read(reader, 100) == b"whole"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing tells what is synced")
def test_rows_are_on_disk_before_they_count_and_stages_need_not_be(tmp_path, monkeypatch):
    store, synced = Store(tmp_path), []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", noted)
    store.save_stage("0" * 16, Made({"a": np.zeros(3)}, {"seconds": 1.0}))
    assert synced == []
    cell(tmp_path)
    folder = str(tmp_path / "cells")
    assert [path.startswith(f"{folder}/.") or path == folder for path in synced] == [True] * 4
    assert synced.count(folder) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a system that opens no folders")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_no_error_and_one_that_fails_is(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", refuse)
    expected = nullcontext() if code == errno.EINVAL else pytest.raises(OSError, match="kept")
    with expected, atomic_write(tmp_path / "kept") as stream:
        stream.write(b"whole")
    assert (tmp_path / "kept").read_bytes() == b"whole"
