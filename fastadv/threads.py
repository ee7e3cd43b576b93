"""Threads: how many, one BLAS thread inside each, and fixed chunks so that bits never move."""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import numba

from fastadv.errors import InputError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")

# Read by libgomp when Numba first loads it. Threads that wait leave their core to other processes,
# after a spin of some microseconds, which bridges the two halves of a training step.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

_threads = 0  # 0: not chosen yet


def _default_threads() -> int:
    chosen = os.environ.get("FASTADV_THREADS", "")
    if chosen:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise InputError(
                f"FASTADV_THREADS is {chosen!r}; it has to be a whole number of at least 1"
            )
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count() -> int:
    """Return the threads to use: `set_threads`, else FASTADV_THREADS, else the cores we have."""
    if _threads == 0:
        set_threads(_default_threads())
    return _threads


def set_threads(n: int) -> None:
    """Use ``n`` threads from now on; no result depends on it."""
    global _threads
    _threads = n
    _pool.cache_clear()


_here = threading.local()  # whether this thread is one of the pool's


def _enter_pool() -> None:
    _here.in_pool = True


def in_pool() -> bool:
    """Return whether the calling thread is one of several that work side by side."""
    return hasattr(_here, "in_pool")


class Abandoned(Exception):
    """Raised in a thread of the pool whose result nobody waits for any more."""


def go_on() -> None:
    """Raise Abandoned if whoever asked for the work of this thread has given it up.

    For long work to call between its steps: Ctrl-C, or an error in another chunk, ends it there.
    """
    given_up = getattr(_here, "given_up", None)
    if given_up is not None and given_up.is_set():
        raise Abandoned


@functools.cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="fastadv", initializer=_enter_pool)


@functools.cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 - loads the second OpenBLAS, or the limit would miss it
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_kernels() -> str:
    """Return for which types of processors the BLAS libraries have chosen their kernels."""
    libraries = [one for one in _blas().info() if one["user_api"] == "blas"]
    return ", ".join(sorted({f"{one.get('architecture')} {one['version']}" for one in libraries}))


class _OneBlasThread:
    """BLAS at one thread from the first that asks for it until the last one has done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._limit = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._holders == 0:
                self._limit.enter_context(_blas().limit(limits=1, user_api="blas"))
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._limit.close()

    def after_fork(self) -> None:
        """Take a lock of this process; what other threads of the parent held stays held."""
        self._lock = threading.Lock()


_one_blas_thread = _OneBlasThread()


def one_blas_thread() -> AbstractContextManager[None]:
    """Hold BLAS at one thread: ours run side by side, and its own would change the bits."""
    return _one_blas_thread


@functools.cache
def _openmp(library: str) -> ThreadpoolController:
    """Return what knows the copies of OpenMP that are loaded once ``library`` is."""
    from threadpoolctl import ThreadpoolController

    importlib.import_module(library)
    return ThreadpoolController()


@contextmanager
def one_openmp_thread(library: str) -> Iterator[None]:
    """Hold OpenMP at one thread for what the calling thread asks of a library.

    Ours run side by side, and a parallel loop over a few images takes 40 times as long.
    """
    with _openmp(library).limit(limits=1, user_api="openmp"):
        yield


_numba_is_busy = threading.Lock()  # with the training of one Python thread
_numba_is_lost = False  # its threads were the parent's, which fork does not copy


def _after_fork() -> None:
    """Forget in a forked process what only its parent has: threads, and locks that those hold."""
    global _numba_is_busy, _numba_is_lost
    _numba_is_busy = threading.Lock()
    _one_blas_thread.after_fork()
    _pool.cache_clear()
    try:
        numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:
        return  # not started yet: this process starts its own
    _numba_is_lost = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def numba_threads() -> Iterator[int]:
    """Yield how many threads a kernel with prange may use within the block, and set them so.

    1, for which such a kernel has to call its tasks itself, where Numba's threads would abort or
    hang: in a process forked after they were started, and in a Python thread while another one uses
    them. No result depends on the number.
    """
    n = thread_count()
    if n == 1 or _numba_is_lost or in_pool() or not _numba_is_busy.acquire(blocking=False):
        yield 1
        return
    try:
        # Numba keeps the number for each Python thread.
        before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(n, most))
        try:
            yield n
        finally:
            numba.set_num_threads(before)
    finally:
        _numba_is_busy.release()


def map_chunks(
    work: Callable[[int, int], T], n: int, chunk: int, *, side_by_side: bool = True
) -> list[T]:
    """Call ``work(start, stop)`` on consecutive chunks of ``n`` items; results in their order.

    The chunks are the same for any number of threads. ``work`` has to spend its time in kernels
    that release the GIL. If it asks for chunks itself, they run one after another: the pool's
    threads must not wait for the pool. So they do where they may not run ``side_by_side``.
    """
    go_on()
    bounds = [(start, min(start + chunk, n)) for start in range(0, n, chunk)]
    given_up = threading.Event()

    def watched(start: int, stop: int) -> T:
        _here.given_up = given_up
        return work(start, stop)

    with one_blas_thread():
        if not side_by_side or thread_count() == 1 or len(bounds) <= 1 or in_pool():
            return [work(*bound) for bound in bounds]
        futures = [_pool(thread_count()).submit(watched, *bound) for bound in bounds]
        try:
            return [future.result() for future in futures]
        except BaseException:
            given_up.set()
            for future in futures:
                future.cancel()
            raise
