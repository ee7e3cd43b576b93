"""A Dask cluster, as far as a grid uses it: who is there, a process hired on each, messages.

All that happens arrives in one inbox. Dask keeps what its tasks return as long as somebody wants
it: when a run ends, however it ends, the scheduler forgets its tasks, and the processes end.
"""

from __future__ import annotations

import logging
import queue
import re
import secrets
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastadv.errors import InputError, brief
from fastadv.grid.executors import hired

_PATIENCE = 10.0  # seconds, for whoever should answer
_LOOK = 1.0  # seconds between looks whether the scheduler is still there
# Dask keeps the last messages, which are large here, and warns of large ones.
_SETTINGS = {
    "distributed.admin.low-level-log-length": 8,
    "distributed.admin.large-graph-warning-threshold": "100 GB",
}
_LOCAL = re.compile(r"local\[(.*)\]")


@dataclass(frozen=True)
class Joined:
    """A worker has come."""

    worker: str


@dataclass(frozen=True)
class Left:
    """A worker has gone, or its process has ended."""

    worker: str


@dataclass(frozen=True)
class Answered:
    """What a task returned."""

    worker: str
    task: str
    value: Any


@dataclass(frozen=True)
class Failed:
    """A task has ended without an answer."""

    worker: str
    task: str
    why: str


Event = Joined | Left | Answered | Failed


class Cluster:
    """A connection to a scheduler; see `connected`."""

    def __init__(self, client: Any, address: str) -> None:
        self.address = address
        self._client = client
        self._run = secrets.token_hex(4)
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._futures: dict[str, Any] = {}  # by task
        self._leases: dict[str, Any] = {}  # by worker
        self._number = 0
        self._lost = False
        self._known: set[str] = set()
        client.subscribe_topic("all", self._hear)
        for worker in client.scheduler_info(n_workers=-1)["workers"]:
            self._hear((0.0, {"action": "add-worker", "worker": worker}))

    def events(self) -> list[Event]:
        """Wait, and return what has happened; nothing, if nothing has for a second.

        Raises
        ------
        InputError
            If the scheduler has gone.
        """
        events: list[Event] = []
        with suppress(queue.Empty):
            events.append(self._inbox.get(timeout=_LOOK))
            while True:
                events.append(self._inbox.get_nowait())
        if self._lost or self._client.status != "running":
            raise InputError(
                f"the Dask scheduler at {self.address} has gone; what is done is kept, and the "
                "same command goes on when one is there"
            )
        return events

    def hire(self, worker: str, start: bytes, n_threads: int, timeout: float | None) -> str:
        """Start a process of ours at a worker; return the task that answers when it is ready."""
        name = self._name(worker)
        lease = self._client.submit(
            hired.hire, name, start, n_threads, timeout, key=f"fastadv hire-{name}",
            workers=[worker], pure=False,
        )  # fmt: skip
        self._leases[worker] = lease
        return self._submit(worker, f"fastadv ready-{name}", hired.ready, name, lease)

    def work(self, worker: str, label: str, kind: str, message: bytes) -> str:
        """Let the process at a worker run a stage; return the task that answers."""
        self._number += 1
        task = f"fastadv {kind.lower()}-{self._run}.{self._number} {label}"
        return self._submit(worker, task, hired.work, self._name(worker), message)

    def forget(self, task: str) -> None:
        """Say that nobody waits for a task any more."""
        future = self._futures.pop(task, None)
        if future is not None:
            future.release()

    def let_go(self, worker: str) -> None:
        """End the process at a worker."""
        lease = self._leases.pop(worker, None)
        if lease is not None:
            lease.release()

    def close(self) -> None:
        """Let all go: what is queued is cancelled, the processes end."""
        for task in list(self._futures):
            self.forget(task)
        for worker in list(self._leases):
            self.let_go(worker)

    def _name(self, worker: str) -> str:
        return f"{self._run}@{worker}"

    def _submit(self, worker: str, task: str, function: Any, *arguments: Any) -> str:
        future = self._client.submit(function, *arguments, key=task, workers=[worker], pure=False)
        self._futures[task] = future
        self._client.loop.add_callback(self._fetch, worker, task, future)
        return task

    async def _fetch(self, worker: str, task: str, future: Any) -> None:
        """Bring what a task returns, in Dask's own thread."""
        try:
            value = (await self._client.gather([future], asynchronous=True))[0]
        except BaseException as error:  # of any kind; it is told where it is waited for
            self._lost |= getattr(error, "reason", None) == "scheduler-connection-lost"
            self._inbox.put(Failed(worker, task, f"{type(error).__name__}: {brief(error)}"))
        else:
            self._inbox.put(Answered(worker, task, value))

    def _hear(self, event: tuple[float, Any]) -> None:
        """Note who comes and goes, in Dask's own thread."""
        told = event[1]
        if not isinstance(told, dict) or "worker" not in told:
            return
        worker, action = told["worker"], told.get("action")
        if action == "add-worker" and worker not in self._known:
            self._known.add(worker)
            self._inbox.put(Joined(worker))
        elif action == "remove-worker" and worker in self._known:
            self._known.discard(worker)
            self._inbox.put(Left(worker))


@contextmanager
def connected(address: str, folder: Path) -> Iterator[Cluster]:
    """Yield the cluster whose scheduler is there, or one on this machine for ``local[N]``.

    Parameters
    ----------
    address : str
    folder : Path
        Where Dask may write, which it hardly does.

    Raises
    ------
    InputError
        If there is none, or it is none of the same version of Dask.
    """
    n_workers = local_workers(address)
    with _quiet(folder):
        if n_workers is not None:
            with _local(n_workers) as client:
                yield from _served(client, address)
            return
        _knock(address)
        client = _client(address)
        try:
            _check_versions(client, address)
            yield from _served(client, address)
        finally:
            _close(client)


def _served(client: Any, address: str) -> Iterator[Cluster]:
    cluster = Cluster(client, address)
    try:
        yield cluster
    finally:
        cluster.close()


def local_workers(address: str) -> int | None:
    """Return N of ``local[N]``; None for the address of a scheduler.

    Raises
    ------
    InputError
        If it is neither.
    """
    match = _LOCAL.fullmatch(address.strip())
    if match:
        if not match[1].isdecimal() or int(match[1]) < 1:
            raise InputError(f"{address}: the number of workers has to be 1 or more")
        return int(match[1])
    if not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+", address):
        raise InputError(
            f"{address!r} is no Dask cluster: give the address of its scheduler, such as "
            "tcp://10.0.0.1:8786 or tls://10.0.0.1:8786, or local[2] for workers on this machine"
        )
    return None


def require_dask() -> None:
    """Raise InputError if Dask is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise InputError(f"--dask needs Dask: pip install distributed ({brief(error)})") from None


@contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Keep Dask's own messages from the terminal: what matters of them is told by us.

    And its files in a folder of ours.
    """
    import dask

    logging.getLogger("distributed")  # is there; those of its modules may have levels of their own
    names = [
        one for one in logging.root.manager.loggerDict if one.partition(".")[0] == "distributed"
    ]
    levels = {log: log.level for log in map(logging.getLogger, names)}
    for log in levels:
        log.setLevel(logging.CRITICAL + 1)
    settings = {**_SETTINGS, "temporary-directory": str(folder)}
    try:
        with warnings.catch_warnings(), dask.config.set(settings):
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


def _knock(address: str) -> None:
    """Ask whether anybody listens at an address, which Dask would try for long."""
    from distributed.comm import parse_host_port
    from distributed.comm.addressing import parse_address

    try:
        host, port = parse_host_port(parse_address(address)[1], 8786)
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or brief(error)
        raise InputError(f"no Dask scheduler answers at {address}: {why}") from None


def _client(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=_PATIENCE, set_as_default=False, name="fastadv")
    except Exception as error:  # a foreign server makes it raise all kinds
        raise InputError(
            f"what listens at {address} does not answer as a Dask scheduler of this version "
            f"would: {type(error).__name__}: {brief(error)}"
        ) from None


def _check_versions(client: Any, address: str) -> None:
    """Raise InputError if the scheduler runs another version of Dask."""
    import distributed

    there = client.sync(client.scheduler.versions)["packages"].get("distributed")
    if there != distributed.__version__:
        raise InputError(
            f"the scheduler at {address} runs Dask {there}, this is {distributed.__version__}: "
            "install the same version on both"
        )


@contextmanager
def _local(n_workers: int) -> Iterator[Any]:
    """Yield a client of a cluster inside this process: no port is opened, no process is Dask's."""
    from distributed import Client, Scheduler, SpecCluster, Worker

    class Silent:
        """Serves no pages, for which it would open a port."""

        def start_http_server(self, *_: Any, **__: Any) -> None:
            pass

    class SilentScheduler(Silent, Scheduler):  # type: ignore[misc]
        pass

    class SilentWorker(Silent, Worker):  # type: ignore[misc]
        pass

    options = {"protocol": "inproc://", "nthreads": 1, "memory_limit": 0, "dashboard": False}
    cluster = SpecCluster(
        workers={i: {"cls": SilentWorker, "options": options} for i in range(n_workers)},
        scheduler={
            "cls": SilentScheduler,
            "options": {"protocol": "inproc://", "dashboard": False},
        },
    )
    client = None
    try:
        client = Client(cluster, set_as_default=False, name="fastadv")
        yield client
    finally:
        if client is not None:
            _close(client)
        with suppress(Exception):
            cluster.close(timeout=2)


def _close(client: Any) -> None:
    """Close a client, which tells the scheduler to forget its tasks, if it is there to hear."""
    with suppress(Exception):
        client.close(timeout=2)
