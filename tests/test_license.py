"""The license that the package states is that of all its files."""

from __future__ import annotations

import tomllib
from pathlib import Path

from fastadv.datasets import mnist_folder
from fastadv.datasets.shipped import MNIST_SHA256

ROOT = Path(__file__).parent.parent


def test_the_expression_and_the_files_name_both_licenses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT AND CC-BY-SA-3.0"
    texts = [(ROOT / name).read_text() for name in project["license-files"]]
    assert texts[0].startswith("MIT License")
    assert "CC-BY-SA-3.0" in texts[1]
    assert "Creative Commons Legal Code" in texts[1]
    assert (ROOT / project["license-files"][1]).parent == mnist_folder()


def test_the_folder_under_the_other_license_holds_nothing_else() -> None:
    assert {path.name for path in mnist_folder().iterdir()} == {*MNIST_SHA256, "LICENSE"}
