"""Images are attacked and judged block by block, and no figure depends on the blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv.attacks.evasion.probe import Probe
from fastadv.grid import blocks, found
from fastadv.grid.run import run_grid
from fastadv.grid.stages.base import Made
from fastadv.grid.store import read_samples

ATTACKS = ["pgd[steps=3]", "noise", "stadv[steps=4]", "square[queries=10]", "backdoor[points=6]"]
DEFENSES = ["none", "median", "bit_depth", "adv_training[epochs=1,attack=fgsm]", "interval"]


def test_blocks_hold_every_image_once() -> None:
    for n in (0, 1, blocks.BLOCK, blocks.BLOCK + 1, 3 * blocks.BLOCK):
        parts = blocks.blocks(n)
        assert [i for part in parts for i in range(n)[part]] == list(range(n))
        assert all(part.stop - part.start <= blocks.BLOCK for part in parts)
    assert len(blocks.blocks(0)) == 1


@pytest.mark.slow
@pytest.mark.compiled
def test_no_figure_depends_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grid(folder: str, **changes: Any) -> Any:
        return run_grid(
            dataset=data, attacks=ATTACKS, defenses=DEFENSES, model=SMALL_MLP, samples=40,
            repeats=1, output=tmp_path / folder, **changes,
        )  # fmt: skip

    data = write_npz(tmp_path / "d.npz")
    whole = grid("whole")
    monkeypatch.setattr(blocks, "BLOCK", 16)
    parts = grid("parts")
    assert {row.status for row in whole} <= {"ok", "skipped"}
    for one, other in zip(whole.runs, parts.runs, strict=True):
        first, second = (msgspec.to_builtins(row) for row in (one, other))
        for row in (first, second):
            del row["seconds"]
            row["found"].pop("search", None)  # of the nearest images of each block
            # What is known of the undefended model counts as the mean of its block.
            rel = 0.05 if "broken_by" in row["found"] else 1e-12
            row["queries"] = {k: pytest.approx(v, rel=rel) for k, v in row["queries"].items()}
        assert first == second
        kept, again = (read_samples(tmp_path / name, one.id) for name in ("whole", "parts"))
        if kept is not None:
            assert again is not None
            assert kept.keys() == again.keys()
            for name, values in kept.items():
                np.testing.assert_array_equal(values, again[name], err_msg=f"{one.attack} {name}")


def test_images_are_kept_where_a_wrapper_can_ask_for_them(tmp_path: Path) -> None:
    """And for no other attack: they are most of what a stage would keep and hand on."""
    run_grid(
        dataset=write_npz(tmp_path / "d.npz"), attacks="fgsm", defenses="none,median",
        model=SMALL_MLP, samples=20, repeats=1, output=tmp_path / "o",
    )  # fmt: skip
    attacked = [np.load(path) for path in (tmp_path / "o" / "stages").glob("*.npz")]
    assert [len(a["x_adv"]) for a in attacked if "is_adv" in a] == [20]


def test_what_the_blocks_say_is_added_up() -> None:
    def block(n: int, forward: float, broken: int, searched: int) -> Made:
        facts = {
            "queries": {"forward": forward}, "seconds": 1.5, "outside": n == 3, "n_impossible": n,
            "found": {
                "broken_by": {"identity": broken},
                "search": {"nearest": n, "broken": searched, "n": n, "queries": 50},
            },
        }  # fmt: skip
        mask = np.ones(n, dtype=bool)
        arrays = dict.fromkeys(("is_adv", "success", "misclassified", "attacked"), mask)
        return Made(
            arrays | {"examples_adv": np.full((n, 2), n), "distance_l2": np.full(n, n)}, facts
        )

    seen = found.found_by([block(1, 4.0, 1, 0), block(3, 8.0, 2, 1)])
    assert seen.result.queries == {"forward": 7.0}
    assert seen.result.distances["l2"].tolist() == [1, 3, 3, 3]
    assert (len(seen.result.x_adv), seen.n_impossible) == (1, 4)
    assert (seen.outside, seen.seconds, seen.survives_oblivious) == (True, 3.0, None)
    assert seen.ways == {
        "broken_by": {"identity": 3},
        "search": {"nearest": 4, "broken": 1, "n": 4, "queries": 50},
    }
    assert found.found_by([block(3, 8.0, 2, 1)]).outside
    assert not found.found_by([block(1, 4.0, 1, 0)]).outside


def test_the_floor_is_sought_of_the_first_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastadv.grid.trust import inspection

    asked: list[tuple[int, int]] = []

    def inspect(_: Any, X: Any, *rest: Any) -> Probe:
        floor_n = rest[-1]
        asked.append((len(X), floor_n))
        return Probe(len(X), zero_gradients=1, falls=2, randomised=len(asked) == 2, floor_n=floor_n)

    monkeypatch.setattr(inspection, "inspect", inspect)
    monkeypatch.setattr(blocks, "BLOCK", 8)
    seen = inspection.inspect_all(None, np.zeros((20, 4)), np.zeros(20), np.arange(20), None)  # type: ignore[arg-type]
    assert asked == [(8, 100), (8, 0), (4, 0)]
    assert seen == Probe(20, zero_gradients=3, falls=6, randomised=True, floor_n=100)
