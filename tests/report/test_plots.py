"""Rows of attacked images, in files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from fastadv.report import plots
from fastadv.report.panels import Panel, arrows, panels
from fastadv.report.svg import panels_svg

SVG = "{http://www.w3.org/2000/svg}"
CAPTIONS = ("clean: 1", "attacked: 2")


def rows(channels: int = 1, flow: bool = True) -> list[tuple[Panel, ...]]:
    rng = np.random.default_rng(0)
    flows = [rng.normal(size=(2, 6, 5)) if flow else None, None]
    return [
        panels(*rng.random((2, 6, 5, channels)), CAPTIONS, (0.0, 1.0), flow=one, with_flow=flow)
        for one in flows
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<svg")])  # fmt: skip
def test_each_format_twice_alike(
    tmp_path: Path, channels: int, flow: bool, name: str, magic: bytes
) -> None:
    if name != "a.svg":
        pytest.importorskip("matplotlib")
    kept = []
    for _ in range(2):
        plots.attacked_images(tmp_path / name, rows(channels, flow))
        kept.append((tmp_path / name).read_bytes())
    assert kept[0] == kept[1]
    assert kept[0].startswith(magic)


def test_without_an_image_there_is_a_picture(tmp_path: Path) -> None:
    plots.attacked_images(tmp_path / "a.svg", [])
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_row_is_before_flow_after_and_difference() -> None:
    before = np.array([[0.0, 100.0], [50.0, 200.0]])[:, :, np.newaxis]
    after = np.array([[0.0, 150.0], [50.0, 100.0]])[:, :, np.newaxis]
    first, moved, last, change = panels(
        before, after, CAPTIONS, (0.0, 200.0), flow=np.full((2, 2, 2), 3.0), with_flow=True
    )
    assert [first.caption, last.caption] == list(CAPTIONS)
    assert first.image[..., 0].tolist() == moved.image[..., 0].tolist() == [[0, 0.5], [0.25, 1]]
    assert last.image[..., 0].tolist() == [[0, 0.75], [0.25, 0.5]]
    assert moved.caption == "flow: 4.2 px at most"
    assert change.caption == "difference: 1e+02 at most"
    assert change.image[..., 0].tolist() == [[0.5, 0.75], [0.5, 0.0]]  # grey where nothing was


def test_nothing_done_is_said() -> None:
    image = np.ones((2, 2, 1))
    captions = [p.caption for p in panels(image, image, CAPTIONS, (0.0, 1.0), with_flow=True)]
    assert captions == ["clean: 1", "unchanged", "attacked: 2", "no difference"]


def test_arrows_show_where_the_ink_goes() -> None:
    flow = np.zeros((2, 4, 4))
    flow[0] = 2.0  # each pixel reads two to its right: the ink goes to the left
    found = list(arrows(flow))
    assert found == [(x, y, -2.0, 0.0) for y in (0, 2) for x in (0, 2)]
    assert list(arrows(np.full((2, 4, 4), 0.01))) == []


def test_an_arrow_points_from_the_middle_of_a_pixel_to_where_its_ink_goes() -> None:
    flow = np.zeros((2, 28, 28))
    flow[:, 7, 5] = -1.0, 2.0  # the ink goes to the right and up
    panel = Panel("flow", np.zeros((28, 28, 1)), flow)
    (path,) = re.findall(r' d="([^"]*)"', panels_svg([[panel]]))
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]
    assert points[:2] == [(5.5, 7.5), (6.5, 5.5)]
    assert points[3] == points[1]  # both sides of the head end at the point


def test_the_longest_flow_has_an_arrow() -> None:
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(2, 28, 28)) * 3
    longest = np.hypot(*flow).max()
    lengths = [np.hypot(dx, dy) for _, _, dx, dy in arrows(flow)]
    assert max(lengths) == pytest.approx(longest)
    assert len(lengths) < 200


def test_the_svg_is_small_and_asks_nothing_of_the_network() -> None:
    rng = np.random.default_rng(0)
    big = [
        panels(
            *rng.random((2, 28, 28, 1)), CAPTIONS, (0.0, 1.0), flow=rng.normal(size=(2, 28, 28)),
            with_flow=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    drawn = panels_svg(big)
    assert len(drawn) < 200_000
    rest = drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert set(re.findall(r'href="([^,]*),', rest)) == {"data:image/png;base64"}
    assert "//" not in re.sub(r'href="[^"]*"', "", rest)


def test_text_from_outside_is_text() -> None:
    caption = '<script>alert(1)</script>\x00\x1b"&'
    root = ET.fromstring(panels_svg([[Panel(caption, np.zeros((2, 2, 1)))]]))
    assert root.get("aria-label") == caption.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    (text,) = root.iter(f"{SVG}text")
    assert str(text.text).startswith("<script>alert(1)</script>")
    assert not list(root.iter(f"{SVG}script"))
