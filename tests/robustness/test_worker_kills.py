"""Workers that are killed, two of the moments of ``worker_kills.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from worker_kills import kept_rows, one_killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc"),
]


@pytest.mark.parametrize("after", [0.0, 2.5])  # while it starts, and when it has imported
def test_what_a_killed_worker_ran_is_tried_again(tmp_path: Path, after: float) -> None:
    killed, faults, results = one_killed(tmp_path, after, 0)
    assert faults == []
    assert killed or after
    assert {row["status"] for row in kept_rows(results).values()} == {"ok"}  # type: ignore[index]
