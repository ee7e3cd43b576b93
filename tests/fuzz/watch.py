"""What reading an input took: processor seconds, memory at its peak, and how it ended."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fastadv.errors import InputError

SECONDS = 2.0  # of the processor
SPARE = 32 << 20  # bytes, beside one and a half times what was decoded, as float32
_TIMES = 1.5


class Hang(BaseException):
    """Reading took longer than it may; no handler of errors catches this."""


def _stop(_: int, __: FrameType | None) -> None:
    raise Hang


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hang` in a block that takes more seconds of the processor."""
    before = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def fault_of(target: Any, data: bytes, folder: Path) -> str | None:
    """Return None, or in a line or more what is wrong with how an input was read.

    An `InputError` of one line is right; any other exception is not, nor is what takes more than
    `SECONDS` or `SPARE`.
    """
    path = target.place(data, folder)
    start = _reset_peak()
    decoded, said = 0, None
    try:
        with limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded = target.read(path) or 0
    except InputError as error:
        if len(str(error).splitlines()) > 1:
            said = f"more than a line: {error}"
    except Hang:
        said = f"more than {SECONDS:g} seconds\n{traceback.format_exc(limit=-6)}"
    except Exception:
        said = traceback.format_exc(limit=-6)
    taken = _peak() - start
    if said is None and taken > _TIMES * decoded + SPARE:
        said = f"{taken >> 20} MiB for {len(data):,} bytes, {decoded / 2**20:.1f} MiB decoded"
    return said


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_peak() -> int:
    """Begin a new peak of the memory that is held, and return what is held now; 0 elsewhere."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return 0
    return _peak()


def _peak() -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
