"""What a Dask worker runs: it hands messages on to a process of ours, and its answers back.

Nothing of a grid is imported here, into a process that is not ours. The process that is hired lives
as long as Dask keeps the `Lease`: until the run lets it go, has ended, or is no longer there.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import threading
from typing import Any

from fastadv import children

_SERVE = "fastadv.grid.executors.remote:serve"
_hands: dict[str, Hand] = {}  # by the names that the run has given them


class Gone(RuntimeError):
    """The process has ended: how, in words."""


class TooLong(RuntimeError):
    """A stage has taken too long, and its process was stopped."""


class Lease:
    """Holds a hired process for a run; without it the process ends."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __del__(self) -> None:
        hand = _hands.pop(self._name, None)
        if hand is not None:
            hand.stop()

    def __reduce__(self) -> Any:
        raise TypeError("a process cannot be sent")


class Hand:
    """A process of ours; if it ends it is started again for the next stage.

    Parameters
    ----------
    start : bytes
        What it has to be told at first.
    n_threads : int
    timeout : float or None
        Seconds that a stage may take.
    """

    def __init__(self, start: bytes, n_threads: int, timeout: float | None) -> None:
        self._start, self._n_threads, self._timeout = start, n_threads, timeout
        self._busy = threading.Lock()  # a Dask worker may have several threads
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Any = None
        self._over = threading.Event()
        self.ready = self._begin()

    def ask(self, message: bytes) -> bytes:
        """Return what the process answers to a message.

        Raises
        ------
        Gone, TooLong
        """
        with self._busy:
            if self._child is not None and self._child.poll() is not None:
                self._end()  # between two stages, in which neither had a part
            if self._child is None:
                self._begin()
            try:
                self._connection.send_bytes(message)
                self._connection.recv_bytes()  # it has begun
                if not self._connection.poll(self._timeout):
                    raise TooLong
                answer: bytes = self._connection.recv_bytes()
                return answer
            except (EOFError, OSError):
                raise Gone(self._ending()) from None
            except TooLong:
                self._end()
                raise

    def stop(self) -> None:
        """End the process, whatever it does; a stage that it runs is lost."""
        self._over.set()
        child = self._child
        if child is not None:
            children.stop(child)

    def _begin(self) -> bytes:
        """Start the process, and return what it says when it is ready."""
        if self._over.is_set():
            raise Gone("was let go")
        self._connection, there = multiprocessing.Pipe()
        number = str(self._n_threads)
        names = ("FASTADV_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
        try:
            self._child = children.start(
                _SERVE, str(there.fileno()), pass_fds=[there.fileno()],
                env={**os.environ, **dict.fromkeys(names, number)},
            )  # fmt: skip
        finally:
            there.close()
        if self._over.is_set():  # meanwhile
            self._end()
            raise Gone("was let go")
        try:
            self._connection.send_bytes(self._start)
            ready: bytes = self._connection.recv_bytes()
            return ready
        except (EOFError, OSError):
            raise Gone(self._ending()) from None

    def _ending(self) -> str:
        """Return how the process has ended, which is to be seen."""
        assert self._child is not None
        how = children.ending(self._child)
        self._end()
        return how

    def _end(self) -> None:
        if self._child is not None:
            children.stop(self._child)
        with contextlib.suppress(OSError):
            self._connection.close()
        self._child = None


def hire(name: str, start: bytes, n_threads: int, timeout: float | None) -> Lease:
    """Start a process, and keep it under a name until the lease is given up."""
    from distributed import get_worker

    _hands[name] = Hand(start, n_threads or get_worker().state.nthreads, timeout)
    return Lease(name)


def ready(name: str, _: Lease) -> bytes:
    """Return what a hired process said when it was ready; the lease says that there is one."""
    return _hand(name).ready


def work(name: str, message: bytes) -> tuple[str, bytes]:
    """Let a hired process run a stage; return how that ended, and its answer or how it ended."""
    try:
        return "answered", _hand(name).ask(message)
    except TooLong:
        return "timeout", b""
    except Gone as error:
        return "died", str(error).encode()


def _hand(name: str) -> Hand:
    try:
        return _hands[name]
    except KeyError:
        raise Gone("was let go") from None
