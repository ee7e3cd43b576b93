from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from fastadv.reproduce import stadv2018, stadv2018_report


@pytest.mark.slow
@pytest.mark.compiled
def test_a_small_run(monkeypatch, tmp_path):
    monkeypatch.setattr(stadv2018, "WIDTHS", (64,))
    told = []
    found = stadv2018.run(lambda *what: told.append(what), samples=60)
    assert len(found.outcomes) == len(stadv2018.MODES) * len(stadv2018.TARGETS)
    assert told[-1][1:] == (7, 8)
    success = {(one.mode, one.target): one.success for one in found.outcomes}
    for target in stadv2018.TARGETS:
        assert success["literal", target] < success["search", target]
        assert success["search", target] >= 0.95
    assert all(0 <= share < 1 for share in found.idle.values())
    assert stadv2018_report.drawing(found, color=False, width=100).plain.count("attacked: ") == 2
    header, *rows = stadv2018_report.cells(found)
    assert {len(row) for row in rows} == {len(header)}
    assert stadv2018_report.table(found).row_count == 3 + len(found.outcomes)
    stream = io.StringIO()
    Console(file=stream, width=100).print(stadv2018_report.table(found))
    assert "…" not in stream.getvalue()
    assert stadv2018_report.save(found, tmp_path / "new") == ["stadv2018.json", "stadv2018.md"]
    kept = json.loads((tmp_path / "new" / "stadv2018.json").read_text())
    assert np.isclose(kept["outcomes"][0]["success"], found.outcomes[0].success)
    assert "99.95" in (tmp_path / "new" / "stadv2018.md").read_text()
