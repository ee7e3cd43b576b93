"""Work in chunks: the same whoever asks for it."""

from __future__ import annotations

import threading

import pytest

from fastadv.threads import go_on, in_pool, map_chunks, set_threads


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
