"""``fastadv warmup``: compile the kernels ahead of the first run."""

from __future__ import annotations

import time

from fastadv.cli import console


def warmup() -> None:
    """Compile everything now, so that no later run waits for it."""
    from fastadv.cli.progress import GridBar, waiting

    messages = console.messages()
    with waiting(messages, "loading"):
        from fastadv.kernels import _jit
        from fastadv.warmup import is_warm, warm_up

    was_warm = is_warm()
    progress = GridBar(messages)
    start = time.perf_counter()
    try:
        warm_up(progress.compiling)
    finally:
        progress.stop()
    seconds = time.perf_counter() - start
    done = "everything was compiled already" if was_warm else f"compiled in {seconds:.0f} s"
    console.print_text(f"{done}; kept in {_jit.CACHE_FOLDER}")
