"""What a server sends, as long as it sends quickly enough."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

PIECE = 16_000  # bytes


class Answer:
    """What is at an address, read by a thread.

    A socket's timeout is for each of its reads, of which a server that sends byte by byte ends
    none; so whoever waits for the thread keeps the time. Left early, the thread ends with its next
    piece, or when the server does.

    Parameters
    ----------
    address : str
    timeout : float
        Seconds for each 16 kB, and for all that comes before the first of them.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self._address, self._timeout = address, timeout
        self._come: queue.Queue[Any] = queue.Queue(4)
        self._left = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        with suppress(queue.Empty):
            while True:  # it may be waiting for room
                self._come.get_nowait()

    def parts(self) -> Iterator[Any]:
        """Yield how many bytes are announced, 0 if nobody knows, and then these, in pieces.

        Raises
        ------
        requests.exceptions.RequestException, urllib3.exceptions.HTTPError
            If they do not come; `ReadTimeout` if they come too slowly.
        """
        import requests

        until, n_bytes = time.monotonic() + self._timeout, 0
        while True:
            try:
                come = self._come.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise requests.exceptions.ReadTimeout from None
            if come is None:
                return
            if isinstance(come, Exception):
                raise come
            yield come
            n_bytes += len(come) if isinstance(come, bytes) else 0
            if n_bytes >= PIECE:
                until, n_bytes = time.monotonic() + self._timeout, 0

    def _read(self) -> None:
        import requests

        try:
            with requests.get(
                self._address,
                headers={"Accept-Encoding": "identity"},
                hooks={"response": _skip_page},
                timeout=(self._timeout / 3, self._timeout),  # a host may have several addresses
                stream=True,
            ) as response:
                response.raise_for_status()
                self._come.put(response.raw.length_remaining or 0)
                # Undecoded: servers that call .gz an encoding would have their files unpacked.
                for piece in response.raw.stream(PIECE, decode_content=False):
                    self._come.put(piece)
                    if self._left.is_set():
                        return
            self._come.put(None)
        except Exception as error:  # it is for whoever waits
            self._come.put(error)


def _skip_page(response: Any, **_: object) -> None:
    """Leave the page of a redirect unread, which may have no end."""
    if response.is_redirect:
        response.close()
