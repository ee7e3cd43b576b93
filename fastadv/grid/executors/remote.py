"""A process on another machine that runs the stages of one grid, one at a time.

It gets the grid as plain values, reads the data set by itself, and proves by hashes that all is the
same as where the grid was asked for. What it makes it returns, and keeps as long as there is room:
later stages of its own need it. It writes nothing but compiled kernels.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fastadv import threads
from fastadv.datasets import Dataset, load_dataset, open_shared
from fastadv.errors import InputError
from fastadv.files import scratch_folder
from fastadv.grid.context import Context
from fastadv.grid.executors import wire
from fastadv.grid.executors.base import attempt
from fastadv.grid.executors.recent import Recent
from fastadv.grid.given import given_for
from fastadv.grid.machine import differences, kernels_of, likeness, processor
from fastadv.grid.plan import Planned
from fastadv.grid.stages.base import Made
from fastadv.kernels import _jit
from fastadv.models.loading import load
from fastadv.sources import FILES
from fastadv.warmup import is_warm, warm_up

BEGUN = b""  # what it says when a stage begins


def serve(descriptor: str) -> None:
    """Run the stages that come through a connection, until it is closed."""
    connection: Connection[Any, Any] = Connection(int(descriptor))
    start = wire.decode(connection.recv_bytes(), wire.Start)
    threads.set_threads(start.threads)
    like = likeness(start.like)
    try:
        context = prepared(start, like)
    except InputError as error:
        connection.send_bytes(wire.encode(wire.Ready(refused=str(error))))
        return
    ready = wire.Ready(
        machine=socket.gethostname(), processor=processor(like), threads=threads.thread_count()
    )
    connection.send_bytes(wire.encode(ready))
    memory = Recent[Made](start.room)
    while True:
        try:
            task = wire.decode(connection.recv_bytes(), wire.Task)
        except EOFError:
            return
        connection.send_bytes(BEGUN)
        connection.send_bytes(wire.encode(run(task, memory, context)))


def run(task: wire.Task, memory: Recent[Made], context: Context) -> wire.Answer:
    """Run a stage, if what it needs is there."""
    memory.dropped.clear()
    sent = {key: wire.unpacked_made(result) for key, result in task.sent.items()}
    needed = {name: sent.get(key) or memory.get(key) for name, key in task.needs.items()}
    inputs = {name: made for name, made in needed.items() if made is not None}
    for key, made in sent.items():
        memory.keep(key, made, made.nbytes)
    if len(inputs) < len(needed):
        lacks = [task.needs[name] for name in needed.keys() - inputs.keys()]
        return wire.Answer(key=task.key, status="lacks", lacks=lacks)
    planned = Planned(task.key, wire.unpacked_stage(task.stage), task.needs)
    outcome = attempt(planned, inputs, context)
    result = None
    if outcome.made is not None:
        result = wire.packed_made(outcome.made)
        made = wire.unpacked_made(result)  # laid out in memory as if it had been sent
        memory.keep(task.key, made, made.nbytes)
    return wire.Answer(
        key=task.key, status=outcome.status, message=outcome.message, made=result,
        dropped=list(memory.dropped),
    )  # fmt: skip


def prepared(start: wire.Start, like: Mapping[str, str]) -> Context:
    """Return what every stage works with.

    Raises
    ------
    InputError
        If this machine is another one than the grid was asked for on, or lacks something.
    """
    unlike = differences(start.like, dict(like), start.mixed)
    if unlike:
        raise InputError(f"has {', and '.join(unlike)}")
    try:
        grid = wire.unpacked_grid(start.grid)
    except InputError as error:
        raise InputError(f"does not know all of the grid: {error}") from None
    data = _data(start)
    if data.fingerprint != start.fingerprint:
        raise InputError(f"has other data under the name {start.data_name}")
    context = Context(grid, data, _given(start, data))
    _compile(context)
    return context


def _data(start: wire.Start) -> Dataset:
    if start.shared:
        return open_shared(start.data)
    try:
        data = load_dataset(start.data)
    except InputError as error:
        raise InputError(f"has not the data set: {error}") from None
    return replace(data, name=start.data_name, known_hash=data.fingerprint)


def _given(start: wire.Start, data: Dataset) -> Any:
    """Return the model that came trained; None if none did."""
    if not start.identity:
        return None
    text = start.grid["model"]
    try:
        if not start.model_file:
            model = load(start.model, data.task)
        elif start.model in FILES:
            with scratch_folder() as folder:
                file = folder / f"model{start.model}"
                file.write_bytes(start.model_file)
                model = load(str(file), data.task)
        else:
            raise InputError(f"nothing reads {start.model} files")
        given = given_for(model, data, text)
    except InputError as error:
        raise InputError(f"has not the model: {error}") from None
    if given.given.identity != start.identity:
        raise InputError(f"makes another model of {text}")
    return given


def _compile(context: Context) -> None:
    """Compile kernels, if no other process of this machine has or is about to."""
    from filelock import FileLock

    names = kernels_of(context)
    if is_warm(names):
        return
    folder = Path(_jit.CACHE_FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".compiling"):
            warm_up(names=names)
    except NotImplementedError:  # a file system without locks
        warm_up(names=names)
    except OSError as error:
        raise InputError(f"cannot keep compiled kernels in {folder} ({error.strerror})") from None
