"""The list of faults is about the code as it stands: one that cannot be planted proves no test."""

from __future__ import annotations

import ast
import tomllib

from plant import LIST, NEAREST, planted
from sites import AREAS, ROOT, parsed


def test_every_fault_of_the_list_can_be_planted() -> None:
    stale = []
    for number, fault in enumerate(tomllib.loads(LIST.read_text(encoding="utf-8"))["fault"], 1):
        path = ROOT / fault["file"]
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        faulty = planted(text, [fault])
        if faulty in (None, text):
            stale.append(f"{number}: {fault['file']} has no line {fault['was']!r}")
        else:
            ast.parse(faulty)  # a fault that is no Python is caught by any test
        assert fault["area"] in NEAREST, number
    assert stale == []


def test_every_area_has_files_and_the_functions_that_it_names() -> None:
    assert AREAS.keys() == NEAREST.keys()
    for _, entries in AREAS.values():
        assert entries
        for entry in entries:
            assert parsed(entry)[2]
