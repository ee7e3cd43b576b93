"""Processes that the program starts: they run its own code, and do not outlive it.

Started as programs, not by `multiprocessing`, which would run the caller's script in each of them
once more. Each has a group of its own: Ctrl-C in a terminal is the program's alone to handle.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from fastadv.errors import warnings_in_a_line

_RUNNING: set[subprocess.Popen[bytes]] = set()

# -P and the caller's own path: a file of the working folder is not imported in place of a library.
_PROGRAM = """\
import sys
sys.path[:] = {path!r}
from fastadv.children import run
run({target!r}, sys.argv[1:])
"""


def start(target: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that calls a function of this package with texts.

    Parameters
    ----------
    target : str
        ``package.module:function``.
    arguments : str
    options
        Of `subprocess.Popen`; standard input is taken: it is how a child sees its parent end.
    """
    program = _PROGRAM.format(path=sys.path, target=target)
    if sys.platform != "win32":
        options["process_group"] = 0
    child: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-P", "-c", program, *arguments], stdin=subprocess.PIPE, **options
    )
    _RUNNING.add(child)
    return child


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a child, whatever it does."""
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    _RUNNING.discard(child)


def ending(child: subprocess.Popen[bytes]) -> str:
    """Return how a child ended, which it has or is about to."""
    try:
        code = child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        return "stopped answering"
    if code < 0 and -code in {number.value for number in signal.Signals}:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def kill_all() -> None:
    """Kill all children, without waiting: the program is about to end."""
    for child in list(_RUNNING):
        child.kill()


def run(target: str, arguments: Sequence[str]) -> None:
    """Call a function in a child, which ends when its parent does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, _, name = target.partition(":")
    with warnings_in_a_line():
        function = getattr(importlib.import_module(module), name)
        function(*arguments)


def _end_with_parent() -> None:
    """Wait until standard input is closed, which the parent's end does, however it ends."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(1)
