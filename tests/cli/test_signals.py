"""A signal ends the program soon, with its code, and with nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "robustness"))
from signals import interrupted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc"),
]


@pytest.mark.parametrize(
    ("number", "after", "to_group", "jobs", "compiling"),
    [
        (signal.SIGINT, 0.1, False, 1, False),  # while the program itself is imported
        (signal.SIGINT, 5.0, True, 2, True),
        (signal.SIGTERM, 6.0, False, 2, False),
        (signal.SIGHUP, 5.0, False, 1, False),
    ],
)
def test_nothing_is_left_behind(
    number: signal.Signals, after: float, to_group: bool, jobs: int, compiling: bool
) -> None:
    with tempfile.TemporaryDirectory() as cold:
        cache = cold if compiling else os.environ["NUMBA_CACHE_DIR"]
        ended = interrupted(
            number, after, to_group=to_group, jobs=jobs, cache=Path(cache), limit=60
        )
    assert ended is None or not ended.faults
