"""Where no browser is, one line says how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import chromium
import pytest

pytestmark = pytest.mark.browser


def test_without_a_browser_a_line_says_how_to_install_one(tmp_path):
    done = subprocess.run(
        [sys.executable, Path(chromium.__file__)], env={"PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "apt-get install chromium" in done.stderr


def test_the_first_that_is_there_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("google-chrome", "chromium-browser"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    assert chromium.find() == str(tmp_path / "chromium-browser")
