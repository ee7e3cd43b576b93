"""Ctrl-C, SIGTERM and SIGHUP: the work is broken off and tidied up, within two seconds.

A signal raises `Ended` in the main thread, so that every block that is open closes. A call into
compiled code cannot be broken off: where the main thread has not come to its end in time, a thread
that watches removes what is left and ends the process.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_PATIENCE = 1.0  # seconds
_SHOW_CURSOR = "\x1b[?25h"


class Ended(KeyboardInterrupt):
    """A signal has ended the work."""


class Signals:
    """The signal that has come, if one has."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._over = threading.Event()

    @property
    def exit_code(self) -> int | None:
        """What a shell gives a program that a signal ended; None without."""
        return None if self.number is None else 128 + self.number

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.number is None:  # a second one would break off the tidying up
            self.number = number
            raise Ended

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the signals in this block. In the main thread alone Python can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        known = [getattr(signal, name) for name in names if hasattr(signal, name)]
        usual = (signal.SIG_DFL, signal.default_int_handler)  # not SIG_IGN, of nohup
        before = {n: signal.getsignal(n) for n in known if signal.getsignal(n) in usual}
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        watching = threading.Thread(target=self._watch, args=(woken, set(before)), daemon=True)
        watching.start()
        woken_before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            self._over.set()
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken_before)
            wakes.close()
            watching.join()
            woken.close()

    def _watch(self, woken: socket.socket, numbers: set[int]) -> None:
        """End the process some time after the first signal, unless it is over by then."""
        while came := woken.recv(1):
            if came[0] in numbers:
                if not self._over.wait(_PATIENCE):
                    _end(came[0])
                return


def _end(number: int) -> None:
    """End the process at once, with nothing left behind."""
    from fastadv import children, files

    children.kill_all()
    files.remove_unfinished()
    with suppress(OSError, ValueError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR.encode() + b"\n")
        os.write(2, b"fastadv: stopped\n")
    os._exit(128 + number)
