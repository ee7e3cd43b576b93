"""A test that is skipped for want of a library is a failure where all of them have to be there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("module", "within", "value", "code"),
    [("skops.no_such", False, "1", 2), ("torch.no_such", True, "1", 1), ("torch.no_such", True, "", 0)],
)  # fmt: skip
def test_a_skip_for_want_of_a_library(
    module: str, within: bool, value: str, code: int, tmp_path: Path
) -> None:
    text = "import pytest\nskip = pytest.importorskip\n"
    call = f"skip({module!r}, exc_type=ImportError)"
    text += f"def test_it():\n    {call}\n" if within else f"{call}\ndef test_it(): pass\n"
    (tmp_path / "test_one.py").write_text(text)
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        env={"FASTADV_ALL_EXTRAS": value, "PYTHONPATH": str(HERE)}, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert ("FASTADV_ALL_EXTRAS is set, but" in done.stdout) == (code in (1, 2))
