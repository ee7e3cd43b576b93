"""A killed grid goes on: a few of the moments of ``kills.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kills import kept_rows, killed_and_resumed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_rows_after_kills_are_those_of_a_run_that_nothing_disturbed(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
    undisturbed, faults, _ = killed_and_resumed(folders[0], 1, [])
    assert faults == []
    killed, faults, hits = killed_and_resumed(folders[1], 2, [2.5, 4.0, 6.0])
    assert faults == []
    assert hits > 0
    assert kept_rows(killed) == kept_rows(undisturbed)
