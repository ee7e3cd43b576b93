"""A cell's story in a terminal, and the command that prints it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from made_grids import default_grid, evaded, kept, poisoned
from made_rows import evasion, result, undone
from rich.cells import cell_len
from rich.console import Console

from fastadv import threat
from fastadv.cli.app import main
from fastadv.grid.row import Flag
from fastadv.report.story import stories
from fastadv.report.story_view import StoryView

FLAG = Flag("masked", "the gradient is zero", "use square")


@pytest.fixture
def flowed(tmp_path):
    runs = evaded("stadv[budget=30]", "median", 0.5, 2, threat.flow(30), flags=[FLAG])
    for k, (row, arrays) in enumerate(runs):
        n = row.n
        arrays["is_adv"] = arrays["clean"] == arrays["y"]
        spread = np.linspace(10, 50, n)
        arrays["flow_loss"], arrays["l2"] = spread, np.full(n, 2.5)
        arrays["examples"], arrays["examples_adv"] = np.zeros((16, 784)), np.ones((16, 784))
        arrays["attacked"] = np.full(n, 9)
        row.distances = {"l2": 2.5, "flow_loss": 30.0}
        row.queries, row.seconds = {"forward": 3.25}, {"perturb": 0.5, "compile": 0.0}
        row.parameters = {"attack": {"budget": 30.0, "tau": None}, "defense": {}, "model": {}}
        row.found = {"broken": {"gradient": k}}
    return kept(tmp_path, runs, grid={"samples": 1000, "repeats": 2})


def lines_of(found, name, width=80, **options):
    stream = io.StringIO()
    console = Console(file=stream, width=width, **options)
    for told in stories(found, name, "--cell"):
        console.print(StoryView(told, blocks=bool(options)))
    return stream.getvalue().splitlines()


def test_a_story_says_figure_interval_runs_distances_parameters_and_flags(flowed):
    lines = lines_of(flowed, "stadv/median")
    (row,) = flowed.rows
    figure = row.attacked_accuracy
    text = "\n".join(lines)
    assert lines[1] == " stadv[budget=30]/median"
    assert lines[2] == " mnist · mlp · flow(30) · 2 runs"
    low, high = 100 * figure.low, 100 * figure.high
    assert lines[4].split()[:6] == ["accuracy", f"{100 * figure.value:.1f}", "%", f"{low:.1f}", "to", f"{high:.1f}"]  # fmt: skip
    seeds = lines.index(" seed  images  accuracy  clean")
    assert [line.split()[:2] for line in lines[seeds + 1 : seeds + 3]] == [
        ["0", "500"],
        ["1", "500"],
    ]
    assert "▲ budget 30" in text
    assert "l2 2.5 2.5 2.5 2.5 2.5" in [" ".join(line.split()) for line in lines]
    assert " attack     budget=30, tau=none" in lines
    assert " found      broken=gradient 0 | gradient 1" in lines
    assert " passes     3.2 forward an image" in lines
    assert " took       perturb 1.0 s" in lines
    assert " ! masked: the gradient is zero; use square" in lines


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_it_keeps_to_the_width_and_draws_six_images(flowed, width):
    lines = lines_of(flowed, "stadv/median", width)
    assert max(map(cell_len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)
    assert sum(line.count("→ 9 at ") for line in lines) == 6
    assert max(line.count("→ 9 at ") for line in lines) == {40: 2, 80: 3, 120: 6, 200: 6}[width]


def test_an_image_that_is_not_turned_stays(flowed):
    (told,) = stories(flowed, "stadv/median", "--cell")
    kept = tuple(replace(picture, said=(picture.label, picture.label)) for picture in told.pictures)
    stream = io.StringIO()
    Console(file=stream, width=80).print(StoryView(replace(told, pictures=kept), blocks=False))
    assert stream.getvalue().count(" stays") == 6
    assert " → " not in stream.getvalue()


def test_a_terminal_of_colours_gets_blocks_and_a_pipe_characters(flowed):
    coloured = "\n".join(
        lines_of(flowed, "stadv/median", force_terminal=True, color_system="truecolor")
    )
    assert "▀" in coloured
    assert "\x1b[38;2;255;255;255" in coloured
    plain = "\n".join(lines_of(flowed, "stadv/median"))
    assert "@@@@" in plain
    assert "\x1b" not in plain
    assert "▀" not in plain


def test_poison_stands_beside_random_flips_with_its_points(tmp_path):
    runs = poisoned("biggio", "none", 0.03, 0.004, 2, sanitized={"lost": 0.15})
    for row, arrays in runs:
        arrays["poison"], arrays["poison_labels"] = np.ones((16, 4)), np.full(16, 7)
        row.poison, row.draw = {"points": 1650.0, "fraction": 0.03}, "one"
    found = kept(tmp_path, runs)
    lines = lines_of(found, "biggio/none")
    assert lines[2].endswith("2 runs · 1 draw of the poison")
    assert [line.split("  ")[0].strip() for line in lines[4:9]] == [
        "points lost", "random flips", "accuracy", "clean", "with flips",
    ]  # fmt: skip
    assert sum(line.count("labelled 7") for line in lines) == 6
    assert " poison     1,650 points, 3 % of the clean training set" in lines
    assert " sanitizer  in %: lost 15.0" in lines


def test_what_has_no_figure_says_why():
    found = result([undone(evasion(), "skipped", "no [bold]gradient")])
    assert " skipped no [bold]gradient" in lines_of(found, "pgd/none")


def test_a_worst_case_names_its_attacks(tmp_path):
    found = kept(tmp_path, evaded("pgd", "none", 0.4, 2), evaded("fgsm", "none", 0.5, 2))
    text = "\n".join(lines_of(found, "worst/none", 100))
    assert "stay so under every attack within linf(0.1)" in " ".join(text.split())
    assert "%  under pgd" in text
    assert "%  under fgsm" in text


# -- the command ----------------------------------------------------------------------------


def test_the_report_prints_one_cell_and_the_command_in_one_line(tmp_path, capsys):
    default_grid(tmp_path)
    assert main(["report", str(tmp_path), "--cell", "stadv translation/adv_training"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == " stadv[budget=1,translation=true]/adv_training"
    assert lines[-1] == (
        " fastadv grid --attacks 'stadv[budget=1,translation=true]' --defenses adv_training "
        "--dataset mnist --model mlp --repeats 3"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--cell", "stadv/median"], "write one of them"),
        (["--cell", "biggo/median"], "--cell: biggo/median names no cell; did you mean biggio/median?"),
        (["--cell", "biggio"], "'biggio' names no cell; write ATTACK/DEFENSE"),
        (["--cell", "biggio/none", "--details"], "--cell is a form of its own"),
        (["--cell", "biggio/none", "--format", "json"], "--cell is a form of its own"),
        (["--cell", "biggio/none", "--html", "x.html"], "--cell is a form of its own"),
    ],
)  # fmt: skip
def test_what_names_no_cell_is_one_line(tmp_path, capsys, given, message):
    default_grid(tmp_path)
    assert main(["report", str(tmp_path), *given]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "grid.json" not in line]
    assert len(lines) == 1
    assert message in lines[0]
