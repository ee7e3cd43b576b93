"""Work in chunks: the same whoever asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numba
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fastadv.threads import (
    go_on,
    in_pool,
    map_chunks,
    numba_threads,
    one_blas_thread,
    set_threads,
)


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_within_chunks_run_in_the_thread_that_asks(threads: int) -> None:
    set_threads(threads)

    def inner(start: int, stop: int) -> tuple[int, int, int]:
        return start, stop, threading.get_ident()

    def outer(*_: int) -> bool:
        found = map_chunks(inner, 5, 2)
        alone = {ident for *_, ident in found} == {threading.get_ident()}
        return alone and [pair[:2] for pair in found] == [(0, 2), (2, 4), (4, 5)]

    assert all(map_chunks(outer, 6, 1))  # more than there are threads: waiting would never end
    assert not in_pool()


def test_an_error_in_one_chunk_ends_the_others_at_their_next_step() -> None:
    set_threads(2)
    begun, ended = threading.Event(), threading.Event()

    def work(start: int, _: int) -> None:
        if start == 0:
            assert begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        try:
            while True:
                go_on()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        map_chunks(work, 2, 1)
    assert ended.wait(10)
    assert map_chunks(lambda a, b: b - a, 4, 1) == [1] * 4  # the same threads work again


def test_blas_has_one_thread_until_the_last_has_done() -> None:
    def most() -> int:
        return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    with threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert most() == 1
        second.__exit__(None, None, None)
        assert most() == 2


@pytest.mark.parametrize("chosen", [1, 2])
def test_a_number_of_threads_holds_in_every_python_thread(chosen: int) -> None:
    set_threads(chosen)
    found = []

    def work() -> None:
        with numba_threads() as n, numba_threads() as inner:
            found.append((n, inner, numba.get_num_threads()))

    other = threading.Thread(target=work)
    other.start()
    other.join()
    most = numba.config.NUMBA_NUM_THREADS
    # One thread does without Numba's, so what Numba has set does not count.
    assert found == [(chosen, 1, most if chosen == 1 else min(chosen, most))]


# What a fork or a second Python thread breaks ends or hangs the process, so another one tries it.
FITS = """
import os, signal, sys, threading
import numpy as np
from fastadv import MLPClassifier, Task, make_attack, threads

threads.set_threads(2)
X = np.random.default_rng(0).random((300, 16), dtype=np.float32)
y = np.arange(300) % 3

def bits():
    model = MLPClassifier((8,), max_iter=3, batch_size=20).fit(X, y)
    found = make_attack("pgd[steps=2]").perturb(model, X, y, task=Task((4, 4, 1), 3), seed=0)
    return model._params.tobytes() + found.x_adv.tobytes()

def forked():
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # which the parent's does not reach
        os._exit(0 if bits() == expected else 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

expected = bits()  # compiled now, if it was not
signal.alarm(90)  # a process that hangs fails
"""


def run_apart(code: str, layer: str) -> None:
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FITS + code],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.compiled
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_process_trains_and_attacks_to_the_same_bits(layer: str) -> None:
    run_apart("sys.exit(forked())", layer)


@pytest.mark.compiled
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_python_threads_train_and_attack_at_once_to_the_same_bits(layer: str) -> None:
    run_apart(
        """
found = []
def work():
    for _ in range(5):
        found.append(bits())
at_once = [threading.Thread(target=work) for _ in range(4)]
for thread in at_once: thread.start()
child = forked()  # while others hold whatever they hold
for thread in at_once: thread.join()
sys.exit(child or not all(f == expected for f in found) or len(found) != 20)
""",
        layer,
    )
