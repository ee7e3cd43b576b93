"""Workers that die, in place of `fastadv.grid.executors.processes.serve`."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

from fastadv.grid.executors.processes import serve


def at_once(_: str) -> None:
    """Before anything is read."""
    raise SystemExit(3)


def with_what_it_was_given(descriptor: str) -> None:
    """After a part of what it was given."""
    os.read(int(descriptor), 9)
    raise SystemExit(3)


def once(descriptor: str) -> None:
    """The first of them, by SIGKILL; where that is kept says the environment."""
    first = Path(os.environ["DIED"])
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    serve(descriptor)


def on_a_full_disk(descriptor: str) -> None:
    """None, but whatever trains meets a full disk."""
    from fastadv.grid.stages.training import Fit

    def compute(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file")

    Fit.compute = compute  # type: ignore[method-assign]
    serve(descriptor)


def without_its_data(descriptor: str) -> None:
    """None, but the data that processes share have gone."""
    from fastadv.grid.executors import processes

    def gone(folder: Path) -> Any:
        return open_shared(folder / "gone")

    open_shared, processes.open_shared = processes.open_shared, gone
    serve(descriptor)
