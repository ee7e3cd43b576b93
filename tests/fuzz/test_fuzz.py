"""Changed files of every kind, in short: ``run.py`` tries as many as one likes.

``found/KIND-HASH`` are inputs that once ended in a traceback, hung or took too much memory.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import mutate
from targets import TARGETS
from watch import fault_of

FOUND = sorted((Path(__file__).parent / "found").iterdir())
SHORT, LONG = 300, 1700  # inputs over all kinds


def share(name: str, inputs: int) -> int:
    """Return how many inputs of all a kind gets."""
    cost = TARGETS[name].cost
    return max(2, round(inputs / cost / sum(1 / target.cost for target in TARGETS.values())))


def tried(name: str, seed: int, folder: Path) -> None:
    target = TARGETS[name]
    data = mutate.mutant(target.valid, target.mutation, random.Random(seed))
    assert fault_of(target, data, folder) is None, data


@pytest.fixture
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name: str = request.param
    if not TARGETS[name].there():
        pytest.skip(f"needs {TARGETS[name].needs}")
    for data in TARGETS[name].valid:  # loads libraries, whose memory is not that of an input
        fault_of(TARGETS[name], data, tmp_path)
    return name


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_found_once_is_read_or_refused_in_a_line(path: Path, tmp_path: Path) -> None:
    target = TARGETS[path.name.rpartition("-")[0]]
    if not target.there():
        pytest.skip(f"needs {target.needs}")
    fault_of(
        target, target.valid[0], tmp_path
    )  # loads libraries, whose memory is not that of an input
    assert fault_of(target, path.read_bytes(), tmp_path) is None


@pytest.mark.parametrize("kind", TARGETS, indirect=True)
def test_valid_files_are_read(kind: str, tmp_path: Path) -> None:
    target = TARGETS[kind]
    for data in target.valid:
        assert fault_of(target, data, tmp_path) is None


@pytest.mark.parametrize("kind", TARGETS, indirect=True)
def test_a_changed_file_is_read_or_refused_in_a_line(kind: str, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp(kind)

    @settings(max_examples=share(kind, SHORT))
    @given(st.integers(0, 2**32))
    def some(seed: int) -> None:
        tried(kind, seed, folder)

    some()


@pytest.mark.slow
@pytest.mark.parametrize("kind", TARGETS, indirect=True)
def test_more_of_them(kind: str, tmp_path: Path) -> None:
    for seed in range(share(kind, LONG)):
        tried(kind, seed, tmp_path)
