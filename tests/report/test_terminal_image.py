from __future__ import annotations

import numpy as np
import pytest
from rich.text import Text

from fastadv.report.attack_table import sparkline
from fastadv.report.terminal_image import beside, captioned, flow_text, image_text, in_rows


def colors(text):
    """Return (foreground, background) of each drawn cell, in order."""
    found = []
    for span in sorted(text.spans, key=lambda span: span.start):
        color, back = span.style.color, span.style.bgcolor
        found.append((color.name, back and back.name))
    return found


def test_a_cell_is_two_pixels():
    image = np.array([[0.0, 1.0], [0.5, 0.0]])
    text = image_text(image)
    assert text.plain == "▀▀"
    assert colors(text) == [("#000000", "#808080"), ("#ffffff", "#000000")]


def test_the_last_row_of_an_odd_height_has_no_lower_half():
    text = image_text(np.ones((3, 1)))
    assert text.plain == "▀\n▀"
    assert colors(text)[1] == ("#ffffff", None)


def test_a_colour_image():
    image = np.zeros((2, 1, 3))
    image[0, 0] = 1.0, 0.0, 0.2
    assert colors(image_text(image)) == [("#ff0033", "#000000")]


def test_a_grey_channel_is_the_same_as_none():
    image = np.random.default_rng(0).random((28, 28))
    assert image_text(image) == image_text(image[:, :, np.newaxis])
    assert len(image_text(image).plain.splitlines()) == 14


def test_bounds_and_values_beyond_them():
    image = np.array([[-1.0], [3.0]])
    assert colors(image_text(image, bounds=(-1, 1))) == [("#000000", "#ffffff")]


def test_shades_without_colour():
    image = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    text = image_text(image, color=False)
    assert text.plain == " @="
    assert not text.spans


def test_shades_of_an_odd_height():
    assert image_text(np.ones((3, 1)), color=False).plain == "@\n="


def test_a_wide_image_is_thinned():
    assert max(map(len, image_text(np.ones((100, 100)), max_width=48).plain.splitlines())) <= 48


def test_beside_pads_the_shorter_lines():
    joined = beside(Text("ab\nc"), Text("x\ny\nz"), gap=1)
    assert joined.plain == "ab x\nc  y\n   z"


def test_drawings_stand_below_one_another_where_they_do_not_fit():
    drawings = [Text("ab\ncd"), Text("ef\ngh"), Text("ij")]
    assert in_rows(drawings, 14).plain == "ab    ef    ij\ncd    gh    "
    assert in_rows(drawings, 13).plain == "ab    ef\ncd    gh\nij"
    assert in_rows(drawings, 1).plain == "ab\ncd\nef\ngh\nij"
    assert in_rows([], 9).plain == ""


def test_a_caption_is_cut_to_the_width():
    text = captioned(Text("x" * 30), "y" * 40)
    assert text.plain.splitlines() == ["y" * 30, "x" * 30]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 2.0, 3.0], "▁▅█"), ([2.0, 2.0], "▁▁"), ([5.0], "▁"), ([3.0, 1.0], "█▁")],
)
def test_sparkline(values, expected):
    assert sparkline(values) == expected


def test_a_long_sparkline_keeps_its_ends():
    drawn = sparkline([float(i) for i in range(1000)])
    assert len(drawn) == 40
    assert (drawn[0], drawn[-1]) == ("▁", "█")


def test_a_flow_is_drawn_where_the_ink_goes():
    flow = np.zeros((2, 4, 3))
    flow[0, :2, 0] = -2.0  # reads to the left: the ink goes right
    flow[1, :2, 1] = 1.0  # reads below: the ink goes up
    flow[:, 2:, 2] = 1.0
    flow[:, 2:, 0] = 0.1
    assert flow_text(flow, color=False).plain == "→↑ \n  ↖"
    styled = flow_text(flow)
    assert styled.plain == "→↑ \n  ↖"
    assert colors(styled)[0][0] == "#ffffff"
    assert flow_text(np.zeros((2, 3, 3))).plain == "   \n   "


def test_a_wider_image_is_drawn_smaller_each_cell_a_mean_of_its_area():
    image = np.random.default_rng(0).random((28, 28))
    text = image_text(image, max_width=14)
    lines = text.plain.splitlines()
    assert (len(lines), len(lines[0])) == (7, 14)
    upper = colors(text)[0][0]
    of_four = round(255 * image[:2, :2].mean())
    assert abs(int(upper[1:3], 16) - of_four) <= 1
    odd = image_text(image, max_width=18).plain.splitlines()
    assert (len(odd), len(odd[0])) == (9, 18)
    flat = image_text(np.full((28, 30), 0.5), max_width=19)
    assert set(colors(flat)) == {("#808080", "#808080")}
