"""Colours by harm: what is coloured, how strongly, and whether it can be read."""

from __future__ import annotations

import io

import pytest
from made_grids import cleaned, evaded, kept, poisoned
from rich.color import Color
from rich.console import Console

from fastadv.grid.row import Flag
from fastadv.report import harm
from fastadv.report.summary_table import summary_table


def console(system="truecolor", **options):
    return Console(
        file=io.StringIO(), width=100, force_terminal=True, color_system=system, **options
    )


def luminance(style):
    """The relative luminance of WCAG 2.2."""
    channels = [value / 255 for value in Color.parse(style).get_truecolor()]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_a_figure_is_coloured_by_the_accuracy_that_is_lost():
    styles = [
        harm.style(lost, console()) for lost in (None, -0.1, 0.049, 0.05, 0.19, 0.2, 0.5, 0.9)
    ]
    plain, ochre, brown, red = "", "#8d775f", "#b06a2c", "#d4480c"
    assert styles == [plain, plain, plain, ochre, ochre, brown, red, red]
    assert harm.style(0.04996, console()) == ochre  # which is printed as 5.0


def test_every_colour_can_be_read_on_black_and_on_white():
    for lost in (0.05, 0.2, 0.5):
        shade = luminance(harm.style(lost, console()))
        assert (shade + 0.05) / 0.05 > 4
        assert 1.05 / (shade + 0.05) > 4


def test_of_16_colours_none_is_yellow():
    assert [harm.style(lost, console("standard")) for lost in (0.05, 0.2, 0.5)] == [
        "",
        "magenta",
        "red",
    ]


def test_the_key_names_the_points_that_are_coloured_there():
    assert harm.key(console()).plain == " Coloured from 5, 20 and 50 points of clean accuracy lost."
    assert (
        harm.key(console("standard")).plain
        == " Coloured from 20 and 50 points of clean accuracy lost."
    )
    assert harm.key(Console(file=io.StringIO())) is None


@pytest.fixture
def found(tmp_path):
    flag = Flag("masked", "the gradient is zero", "use square")
    return kept(
        tmp_path, cleaned("none", 0.98, 1), evaded("pgd", "none", 0.3, 1),
        evaded("fgsm", "none", 0.9, 1), evaded("cw", "none", 0.2, 1, flags=[flag]),
        poisoned("biggio", "none", 0.25, 0.004, 1),
    )  # fmt: skip


def styled(found, **options):
    out = console(**options)
    out.print(summary_table(found))
    return out.file.getvalue()


def test_the_table_colours_accuracy_and_points_lost_alike_and_no_flagged_figure(found):
    (lines,) = [styled(found).splitlines()]
    of = {line.split()[0].removeprefix("\x1b[1m"): line for line in lines if line.split()}
    assert "\x1b[38;2;212;72;12m" in of["pgd"]  # 60 points
    assert "38;2" in of["fgsm"]
    assert "\x1b[38;2;176;106;44m" in of["biggio"]  # 25 points
    assert "38;2" not in of["cw"]
    assert "38;2" not in of["clean"]
    assert any("Coloured from" in line for line in lines)


def test_there_is_no_colour_where_none_is_wanted(found, monkeypatch):
    plain = io.StringIO()
    Console(file=plain, width=100).print(summary_table(found))
    assert "\x1b" not in plain.getvalue()
    assert "Coloured" not in plain.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    text = styled(found)
    assert "38;2" not in text
    assert "Coloured" not in text
