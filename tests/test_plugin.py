"""The example of a plug-in: installed in a folder of its own, listed, held to the contracts, run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.compiled]

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "examples" / "plugin"
BRINGS = {
    "brightness": "evasion", "contradictions": "sanitizer", "nearest_mean": "model",
    "stripes": "dataset",
}  # fmt: skip

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the plug-in is installed in."""
    folder, before = tmp_path_factory.mktemp("site"), sorted(PLUGIN.rglob("*.toml"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--no-build-isolation", "--disable-pip-version-check", "--target", folder, PLUGIN],
        check=True, timeout=120,
    )  # fmt: skip
    assert sorted(PLUGIN.rglob("*.toml")) == before
    return folder


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """Return a function that runs a module of Python with the plug-in on the path."""

    def run(*arguments: str, cwd: Path = tmp_path, path: Path = site) -> object:
        return subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(path)}, check=False, timeout=300,
        )  # fmt: skip

    return run  # type: ignore[return-value]


def test_it_is_listed_and_leaves_no_trace(run: Run, site: Path, tmp_path: Path) -> None:
    listed, before = run("fastadv", "list").stdout, run("fastadv", "list", path=tmp_path).stdout
    for name, kind in BRINGS.items():
        (line,) = (line for line in listed.splitlines() if line.split()[:1] == [name])
        assert line.split()[-1] == "fastadv-example"
        assert kind == "model" or line.split()[1] == kind  # the models have no such column
        assert name not in before
    gone = tmp_path / "gone"
    shutil.copytree(site, gone)
    assert run("fastadv", "list", path=gone).stdout == listed
    shutil.rmtree(gone)
    assert run("fastadv", "list", path=gone).stdout == before


def test_it_keeps_to_the_contracts(run: Run) -> None:
    chosen = " or ".join(BRINGS)
    done = run(
        "pytest",
        "tests/test_contracts.py",
        "tests/test_contracts_models.py",
        "-k",
        chosen,
        "-p",
        "no:cacheprovider",
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_all_four_in_one_grid(run: Run) -> None:
    done = run(
        "fastadv", "grid", "--json", "--dataset", "stripes[n=600]", "--model", "nearest_mean",
        "--attacks", "brightness,fgsm,label_flip", "--defenses", "none,contradictions,median",
        "--samples", "50", "--jobs", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["status"] for row in rows] == ["ok"] * 12
    assert {row["model"] for row in rows} == {"nearest_mean"}
    by_cell = {(row["attack"], row["defense"]): row for row in rows}
    # A relabelled copy contradicts its original: all poison goes, and no pair of clean images.
    caught = by_cell["label_flip", "contradictions"]
    assert caught["sanitized"]["caught"] == 1.0
