"""The picture of a table."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from helpers import svg_lines
from made_grids import default_grid
from made_rows import clean, evasion, result
from rich.console import Console

from fastadv.cli.app import main
from fastadv.grid.result import GridResult
from fastadv.report.summary_table import summary_table
from fastadv.report.svg import terminal_svg

SVG = "{http://www.w3.org/2000/svg}"


def printed(shown: GridResult) -> list[str]:
    """Return what a terminal with colours shows."""
    console = Console(width=80, force_terminal=True, color_system="truecolor", record=True, file=io.StringIO())  # fmt: skip
    console.print(summary_table(shown))
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_the_picture_says_what_is_printed_at_80_columns(tmp_path: Path) -> None:
    shown = default_grid(tmp_path)
    assert len(printed(shown)) > 10
    assert svg_lines(terminal_svg(summary_table(shown))) == printed(shown)


def test_the_terminal_that_it_is_made_in_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = default_grid(tmp_path)
    first = terminal_svg(summary_table(shown))
    assert "font-weight: bold" in first
    for name, value in (("NO_COLOR", "1"), ("COLUMNS", "40"), ("TERM", "dumb"), ("FORCE_COLOR", "1")):  # fmt: skip
        monkeypatch.setenv(name, value)
        assert terminal_svg(summary_table(shown)) == first


def test_it_asks_nothing_of_the_network(tmp_path: Path) -> None:
    drawn = terminal_svg(summary_table(default_grid(tmp_path)))
    assert "//" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "@" not in drawn
    assert set(re.findall(r"url\((.)", drawn)) == {"#"}


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_can_be_read_on_the_pictures_own_ground(tmp_path: Path) -> None:
    drawn = terminal_svg(summary_table(default_grid(tmp_path)))
    (ground,) = re.findall(r'<rect [^>]*rx="8" fill="(#\w+)"', drawn)
    colours = re.findall(r"fill: (#\w{6})", drawn)
    assert len(colours) > 2
    for colour in colours:
        assert (luminance(colour) + 0.05) / (luminance(ground) + 0.05) > 4, colour


def test_a_dataset_that_is_called_a_script_is_text() -> None:
    name = "<script>alert(1)</script>\x1b"
    drawn = terminal_svg(summary_table(result([clean(dataset=name), evasion(dataset=name)])))
    assert not list(ET.fromstring(drawn).iter(f"{SVG}script"))
    assert any("<script>alert(1)</script>\ufffd · mlp" in line for line in svg_lines(drawn))


@pytest.mark.parametrize("details", [False, True])
def test_report_writes_it_instead_of_printing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], details: bool
) -> None:
    default_grid(tmp_path)
    path, asked = tmp_path / "table.svg", ["--details"] if details else []
    assert main(["report", str(tmp_path), "--plot", str(path), *asked]) == 0
    assert capsys.readouterr().out == ""
    drawn = "\n".join(svg_lines(path.read_text()))
    assert bool(re.search(r"\d\d\.\d-\d\d\.\d", drawn)) == details  # an interval
