"""``fastadv grid --dask``: what cannot be is told in a line, with exit code 2."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import SMALL_MLP, write_npz

from fastadv.cli.grid_options import resolve_grids
from fastadv.errors import InputError
from fastadv.grid.executors import cluster

GRID = ["grid", "--attacks", "fgsm", "--defenses", "none", "--model", SMALL_MLP, "--samples", "9",
        "--repeats", "1"]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("local[0]", "local[0]: the number of workers has to be 1 or more"),
        ("local[two]", "local[two]: the number of workers has to be 1 or more"),
        ("local[-1]", "local[-1]: the number of workers has to be 1 or more"),
        ("localhost", "'localhost' is no Dask cluster: give the address of its scheduler"),
        ("http://a:1", "'http://a:1' is no Dask cluster: give the address of its scheduler"),
        ("tcp://", "'tcp://' is no Dask cluster"),
        ("tcp://localhost:x", "no Dask scheduler answers at tcp://localhost:x"),
        ("tcp://nobody.invalid:8786", "no Dask scheduler answers at tcp://nobody.invalid:8786"),
    ],
)
def test_what_is_no_cluster_is_told_in_a_line(program, tmp_path, address, line):
    done = program(*GRID, "--dataset", write_npz(tmp_path / "s.npz"), "--dask", address)
    assert done.code == 2
    assert line in done.err
    assert "Traceback" not in done.err


def test_an_address_where_nobody_listens(program, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    done = program(*GRID, "--dataset", write_npz(tmp_path / "s.npz"), "--dask", address)
    assert done.code == 2
    assert f"no Dask scheduler answers at {address}: Connection refused" in done.err


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of a server that speaks something else."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_a_server_of_another_kind(program, tmp_path, stranger, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
    done = program(*GRID, "--dataset", write_npz(tmp_path / "s.npz"), "--dask", stranger)
    assert done.code == 2
    assert f"what listens at {stranger} does not answer as a Dask scheduler" in done.err


OTHER = """
import asyncio, distributed
from distributed import versions
told = versions.get_package_info
versions.get_package_info = lambda names: told(names) | {"distributed": "2019.1.0"}
async def serve():
    async with distributed.Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as s:
        print(s.address, flush=True)
        await s.finished()
asyncio.run(serve())
"""


@pytest.mark.slow
def test_a_scheduler_of_another_version(program, tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)},
    )
    try:
        assert other.stdout is not None
        address = other.stdout.readline().strip()
        done = program(*GRID, "--dataset", write_npz(tmp_path / "s.npz"), "--dask", address)
    finally:
        other.kill()
        other.communicate()
    assert done.code == 2
    assert f"the scheduler at {address} runs Dask 2019.1.0, this is " in done.err


def test_without_the_extra(program, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = program(*GRID, "--dataset", write_npz(tmp_path / "s.npz"), "--dask", "local[2]")
    assert done.code == 2
    assert "--dask needs Dask: pip install distributed" in done.err


def test_processes_here_or_workers_there(program):
    done = program(*GRID, "--dask", "local[2]", "--jobs", "2")
    assert done.code == 2
    assert "give one of jobs and dask" in done.err
    done = program(*GRID, "--dask-mixed")
    assert done.code == 2
    assert "give dask, too" in done.err


def test_the_options_from_a_file(tmp_path: Path) -> None:
    config = tmp_path / "grid.toml"
    config.write_text('dask = "tcp://a:8786"\ndask_mixed = true\n')
    options = resolve_grids({}, config)[0]
    assert (options.dask, options.dask_mixed) == ("tcp://a:8786", True)
    config.write_text('dask = "tcp://a:8786"\ndask_mixed = "yes"\n')
    with pytest.raises(InputError, match="dask_mixed has to be true or false, got 'yes'"):
        resolve_grids({}, config)


def test_nothing_of_dask_is_imported_without_the_option() -> None:
    code = "import sys, fastadv.grid.run, fastadv.cli.grid; print({'dask', 'distributed'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
