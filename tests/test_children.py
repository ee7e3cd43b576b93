"""Processes that the program starts end with it, and import nothing from the working folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastadv import children

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signal.pause")


def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    program = (
        "from fastadv import children; import time\n"
        "child = children.start('signal:pause')\n"
        "print('started', flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.kill()
        # The pipe closes with the last process that has it: the child, which inherited it.
        assert parent.communicate(timeout=30)[0] == b""


def test_a_child_imports_nothing_from_the_working_folder(tmp_path: Path) -> None:
    for name in ("fastadv", "numpy", "random", "selectors", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')")
    child = children.start("fastadv.warmup:compile_groups", cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        assert child.stderr is not None
        assert child.stderr.read() == b""
        assert child.wait() == 0
    finally:
        children.stop(child)
