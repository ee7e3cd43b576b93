from __future__ import annotations

import numpy as np
import pytest

from fastadv.report import plots


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_and_without_a_flow(tmp_path, channels):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    pairs = [(rng.random((6, 5, channels)), rng.random((6, 5, channels))) for _ in range(2)]
    for name, flows in (("a.png", [rng.normal(size=(2, 6, 5)), None]), ("b.svg", [None, None])):
        plots.attacked_images(
            tmp_path / name, images=pairs, captions=[("clean: 1", "attacked: 2")] * 2,
            flows=flows, bounds=(0.0, 1.0),
        )  # fmt: skip
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b.svg").read_bytes()
