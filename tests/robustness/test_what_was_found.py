"""The table of what was found names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent


def test_every_test_of_the_table_is_there() -> None:
    file, named = "", 0
    for cell in re.findall(r"`([^`]+)`", (TESTS / "robustness" / "README.md").read_text()):
        if cell.startswith("fuzz/found/"):
            assert list(TESTS.glob(cell)), cell
        elif "::" in cell:
            stated, _, name = cell.partition("::")
            file = stated or file
            assert f"def {name}(" in (TESTS / file).read_text(), cell
            named += 1
    assert named > 20
