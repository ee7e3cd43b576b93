"""What a worker needs before its first stage, what it refuses, and its process."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Iterator
from importlib import metadata
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers import SMALL_MLP, blobs, small_mlp, write_npz

from fastadv.errors import InputError
from fastadv.grid.context import Context
from fastadv.grid.executors import dask as executor
from fastadv.grid.executors import hired, processes, remote, wire
from fastadv.grid.executors.dask import Dask
from fastadv.grid.machine import differences, likeness, packages_of
from fastadv.grid.run import asked

LIKE = likeness()


def context_of(folder: Path, model: str = SMALL_MLP, dataset: str = "") -> Context:
    return asked(
        attacks=["fgsm"], defenses=["none"], dataset=dataset or write_npz(folder / "small.npz"),
        model=model, samples=20, repeats=1, seed=0,
    )  # fmt: skip


def start_of(folder: Path, model: str = SMALL_MLP, dataset: str = "", **changes: Any) -> wire.Start:
    start = executor._start(context_of(folder, model, dataset), Dask("tcp://a:1"), None, folder)
    there = wire.decode(wire.encode(start), wire.Start)
    return msgspec.structs.replace(there, **changes)


def test_a_data_set_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "small.npz")
    monkeypatch.chdir(tmp_path)
    start = start_of(tmp_path, dataset="small.npz[train=60]")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    context = remote.prepared(start, LIKE)
    assert context.dataset.name == "small.npz[train=60]"
    assert len(context.dataset.x_train) == 60
    assert context.grid.dataset == "small.npz[train=60]"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"like": LIKE | {"numba": "0.1"}}, f"has numba {LIKE['numba']} in place of 0.1"),
        ({"like": LIKE | {"fastadv": "9"}}, "has fastadv .* in place of 9"),
        ({"like": LIKE | {"processor": "z80"}}, "has processor .* in place of z80"),
        ({"fingerprint": "another"}, "has other data under the name "),
        ({"data": "/nowhere/small.npz"}, "has not the data set: there is no file"),
    ],
)
def test_what_would_give_other_numbers_is_refused(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        remote.prepared(start_of(tmp_path, **changes), LIKE)


def test_an_attack_that_a_worker_does_not_know(tmp_path: Path) -> None:
    start = start_of(tmp_path)
    start.grid["attacks"].append(("mine", "mine[x=1]"))
    with pytest.raises(InputError, match="does not know all of the grid: no attack 'mine'"):
        remote.prepared(start, LIKE)


def test_mixed_takes_another_processor_and_no_other_version() -> None:
    other = LIKE | {"processor": "z80", "BLAS kernels": "Z80"}
    assert len(differences(LIKE, other, mixed=False)) == 2
    assert differences(LIKE, other, mixed=True) == []
    assert differences(LIKE, other | {"numpy": "1"}, mixed=True) == [
        f"numpy 1 in place of {LIKE['numpy']}"
    ]


MODULE = """
import torch
def make(task):
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 3)
    return torch.nn.Sequential(*layers)
def dense(task):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3))
"""


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, beside what is; an empty version is none."""
    made: dict[str, str] = {}
    version = metadata.version

    def told(name: str) -> str:
        found = made[name] if name in made else version(name)
        if not found:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", told)
    monkeypatch.setattr(metadata, "packages_distributions", dict)
    return made


def refusal(start: wire.Start) -> str:
    ours, theirs = Pipe()
    ours.send_bytes(wire.encode(start))
    with socket.socket(fileno=os.dup(ours.fileno())) as sending:
        sending.shutdown(socket.SHUT_WR)  # no stage
    remote.serve(str(os.dup(theirs.fileno())))
    return wire.decode(ours.recv_bytes(), wire.Ready).refused


@pytest.mark.parametrize(("there", "said"), [("0.1", "torch 0.1"), ("", "no torch")])
@pytest.mark.parametrize("model", ["cnn", "make"])
def test_a_model_of_torch_wants_the_same_torch(
    tmp_path: Path, versions: dict[str, str], model: str, there: str, said: str
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(MODULE)
    text = model if model == "cnn" else f"{tmp_path / 'net.py'}:{model}"
    versions["torch"] = "2.9"
    start = start_of(tmp_path, text)
    remote.prepared(start, likeness(start.like))
    versions["torch"] = there
    assert refusal(start) == f"has {said} in place of 2.9"


@pytest.mark.parametrize("model", [SMALL_MLP, "dense"])
def test_a_worker_without_torch_does_what_needs_none(
    tmp_path: Path, versions: dict[str, str], model: str
) -> None:
    if model == "dense":  # taken over
        pytest.importorskip("torch")
        (tmp_path / "net.py").write_text(MODULE)
        model = f"{tmp_path / 'net.py'}:dense"
    start = start_of(tmp_path, model)
    versions |= {"torch": "", "onnxruntime": ""}
    remote.prepared(start, likeness(start.like))


def test_a_graph_wants_the_same_onnxruntime_if_it_runs_in_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from onnx_graphs import convolutional

    path = tmp_path / "net.onnx"
    path.write_bytes(convolutional().SerializeToString())
    context = context_of(tmp_path, str(path))
    assert packages_of(context) == {"onnxruntime"}


FACTORY = """
from fastadv import MLPClassifier
def make(task):
    return MLPClassifier.load({path!r})
"""


@pytest.mark.parametrize("how", ["file", "factory"])
def test_a_given_model_travels_as_its_file_or_the_name_of_a_factory(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "model.npz"
    small_mlp().fit(*blobs()).save(path)
    text = str(path)
    if how == "factory":
        (tmp_path / "mine.py").write_text(FACTORY.format(path=str(path)))
        text = f"{tmp_path / 'mine.py'}:make"
    start = start_of(tmp_path, text)
    assert (len(start.model_file) > 0) == (how == "file")
    if how == "file":
        path.unlink()  # a worker has it not
    context = remote.prepared(start, LIKE)
    assert context.given.given.identity == start.identity
    assert context.given.given.name == text
    with pytest.raises(InputError, match="makes another model of"):
        remote.prepared(msgspec.structs.replace(start, identity="another"), LIKE)


def test_a_model_that_is_an_object_stays_here(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is an object of this process, which cannot be sent"):
        start_of(tmp_path, small_mlp().fit(*blobs()))  # type: ignore[arg-type]


def test_data_that_find_no_room_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("8 requested and 0 written")

    monkeypatch.setattr(processes, "share", full)
    with pytest.raises(InputError, match=r"8 requested and 0 written, .* set TMPDIR"):
        executor._start(context_of(tmp_path), Dask("local[2]"), 2, tmp_path)


# -- the process ----------------------------------------------------------------------------


def serve(descriptor: str) -> None:
    """Stands for `remote.serve`: answers a message by itself; some end or stop it."""
    connection: Connection[Any, Any] = Connection(int(descriptor))
    start = connection.recv_bytes()
    threads = f"{os.environ['FASTADV_THREADS']} {os.environ['NUMBA_NUM_THREADS']}"
    connection.send_bytes(b"ready " + start + b" " + threads.encode())
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(b"")
        if message == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        while message == b"stay":
            signal.pause()
        connection.send_bytes(message + str(os.getpid()).encode())


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[hired.Hand]:
    monkeypatch.setattr(hired, "_SERVE", f"{__name__}:serve")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    made = hired.Hand(b"start", 3, timeout=0.5)
    yield made
    made.stop()


def test_a_process_knows_its_threads_before_anything_is_imported(hand: hired.Hand) -> None:
    assert hand.ready == b"ready start 3 3"


def test_a_process_that_dies_or_takes_too_long_is_started_again(hand: hired.Hand) -> None:
    first = hand.ask(b"1 ")
    assert hand.ask(b"1 ") == first
    with pytest.raises(hired.Gone, match="was ended by SIGKILL"):
        hand.ask(b"die")
    second = hand.ask(b"1 ")
    assert second != first
    with pytest.raises(hired.TooLong):
        hand.ask(b"stay")
    assert hand.ask(b"1 ") not in (first, second)


def test_a_process_ends_with_its_lease(hand: hired.Hand) -> None:
    hired._hands["a"] = hand
    lease = hired.Lease("a")
    assert hired.work("a", b"1 ")[0] == "answered"
    with pytest.raises(TypeError, match="cannot be sent"):
        lease.__reduce__()
    pid = int(hand.ask(b""))
    del lease
    gc.collect()
    assert hired._hands == {}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert hired.work("a", b"1 ") == ("died", b"was let go")
    with pytest.raises(hired.Gone, match="was let go"):  # and is not started again
        hand.ask(b"1 ")


def test_a_process_that_has_died_before_is_no_fault_of_a_stage(hand: hired.Hand) -> None:
    pid = int(hand.ask(b""))
    os.kill(pid, signal.SIGKILL)
    assert hand._child is not None
    hand._child.wait()
    assert int(hand.ask(b"")) != pid
