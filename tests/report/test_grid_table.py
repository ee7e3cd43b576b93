from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import pytest
from made_rows import (
    DEFENSES,
    clean,
    evasion,
    full_grid,
    poisoning,
    result,
    stadv,
    undone,
    worst_case,
)
from rich.console import Console

from fastadv import threat
from fastadv.grid.row import Figure, Flag
from fastadv.report.cells import make_sheets
from fastadv.report.markdown import details_markdown
from fastadv.report.summary import FLIPS, summaries
from fastadv.report.table import grid_table
from fastadv.runs import Runs


def render(rows, worst=(), width=100, **options):
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(grid_table(result(rows, worst)))
    return stream.getvalue()


def sheet_of(rows, worst=()):
    (sheet,) = make_sheets(result(rows, worst))
    return sheet


def cell(rows, attack, defense, worst=()):
    """Return the lines of one cell."""
    sheet = sheet_of(rows, worst)
    (row,) = [row for row in sheet.rows if row.attack == attack]
    return [line.text for line in row.cells[sheet.defenses.index(defense)].lines]


def notes(rows):
    return [(note.mark, note.text) for note in sheet_of(rows).notes]


# -- single cells ---------------------------------------------------------------------------


def test_an_evasion_cell_has_accuracy_and_interval_and_nothing_else():
    assert cell([evasion()], "pgd", "none") == ["42.1", "39.1-45.2"]


def test_only_an_attack_of_smallest_change_says_what_it_needs():
    assert cell([stadv()], "stadv", "none") == ["42.1", "39.1-45.2", "needs 26.9"]


def test_a_median_that_does_not_exist_is_left_out():
    row = stadv(distances={"flow_loss": math.nan})
    assert cell([row], "stadv", "none") == ["42.1", "39.1-45.2"]


def test_a_wrapped_model_has_the_oblivious_accuracy():
    row = evasion(defense="median", oblivious_accuracy=0.61)
    assert cell([row], "pgd", "median") == ["42.1", "39.1-45.2", "oblivious 61.0"]


def test_a_poisoning_cell_has_the_points_lost_and_the_random_flips():
    lines = cell([poisoning()], "biggio", "none")
    assert lines == ["95.0", "94.6-95.4", "points 3.1", "flips 97.6"]


def test_a_sanitizer_has_what_it_caught_of_either_attack_and_what_it_lost():
    shares = {"caught": 0.0, "caught_oblivious": 0.83, "lost": 0.05, "relabelled": 0.0}
    row = poisoning(defense="outlier", sanitized=shares, oblivious_accuracy=0.97)
    assert cell([row], "biggio", "outlier")[-3:] == ["flips 97.6", "caught 0.0 / 83.0", "lost 5.0"]
    row = poisoning(defense="loss_trim", sanitized={"caught": 0.9, "lost": 0.02})
    assert cell([row], "biggio", "loss_trim")[-2:] == ["caught 90.0", "lost 2.0"]


def test_an_evasion_success_rate_is_not_taken_for_a_backdoors():
    assert len(cell([evasion(success_rate=0.9)], "pgd", "none")) == 2
    row = poisoning("backdoor", attacked_accuracy=0.1, success_rate=0.9, benign_accuracy=0.95)
    assert cell([row], "backdoor", "none")[0] == "10.0 obey 90.0"
    assert "benign 95.0" in cell([row], "backdoor", "none")


def test_a_figure_of_unknown_images_has_no_interval():
    row = evasion(attacked_accuracy=Figure(0.98, None, None, 0))
    assert cell([row], "pgd", "none") == ["98.0"]


def test_a_row_without_a_figure_has_no_other_in_its_place():
    assert cell([clean(attacked_accuracy=None)], "none", "none") == ["nan"]


def test_a_pair_without_a_row_was_not_run():
    assert cell([clean("none"), clean("median"), evasion()], "pgd", "median") == ["not run"]


# -- what did not come out ------------------------------------------------------------------


def test_each_reason_is_numbered_once():
    rows = [
        undone(poisoning("biggio", "median"), "skipped", "no  use\nhere"),
        undone(poisoning("label_flip", "median"), "skipped", "no use here"),
        undone(poisoning("biggio", "none"), "failed", "DivergenceError: lower it"),
        undone(poisoning("label_flip", "none"), "timeout", "more than 600 s"),
    ]
    assert cell(rows, "biggio", "median") == ["- [1]"]
    assert cell(rows, "label_flip", "median") == ["- [1]"]
    assert cell(rows, "biggio", "none") == ["failed [2]"]
    assert cell(rows, "label_flip", "none") == ["timeout [3]"]
    assert notes(rows) == [
        ("[1]", "no use here"), ("[2]", "DivergenceError: lower it"), ("[3]", "more than 600 s")
    ]  # fmt: skip
    assert render(rows).count("no use here") == 1


def test_failures_are_red_and_only_on_a_terminal():
    rows = [undone(evasion(), "failed", "x"), clean()]
    colored = render(rows, force_terminal=True, color_system="standard")
    assert re.search(r"\x1b\[31mfailed \[1\]", colored)
    assert "\x1b" not in render(rows)


def test_a_failure_without_a_reason_says_so():
    assert notes([undone(evasion(), "failed", None)]) == [("[1]", "no reason was kept")]


# -- flags ----------------------------------------------------------------------------------


def test_a_flag_marks_its_cells_and_is_explained_once():
    flag = Flag("masked", "look elsewhere")
    rows = [evasion("pgd", flags=[flag]), evasion("fgsm", flags=[flag]), evasion("noise")]
    assert cell(rows, "pgd", "none")[0] == "42.1 !"
    assert cell(rows, "noise", "none")[0] == "42.1"
    assert notes(rows) == [("!", "masked: look elsewhere (pgd / none, fgsm / none)")]


def test_two_flags_are_one_mark_and_two_notes():
    rows = [evasion(flags=[Flag("a", "one"), Flag("b", "two")])]
    assert cell(rows, "pgd", "none")[0] == "42.1 !"
    assert [text for _, text in notes(rows)] == ["a: one (pgd / none)", "b: two (pgd / none)"]


def test_a_flag_of_many_cells_names_some_of_them():
    rows = [evasion(f"a{i}", flags=[Flag("x", "y")]) for i in range(6)]
    assert notes(rows)[0][1].endswith("a3 / none and 2 more)")


def test_a_note_has_a_mark_of_its_own_and_stands_behind_the_flags():
    note, flag = Flag("not_adaptive", "chosen unseeing", "adapt it"), Flag("masked", "look away")
    rows = [
        poisoning("biggio", notes=[note]), poisoning("biggio", seed=1, notes=[note]),
        poisoning("label_flip", notes=[note], flags=[flag]),
    ]  # fmt: skip
    assert cell(rows[:1], "biggio", "none")[0] == "95.0 †"
    assert cell(rows, "label_flip", "none")[0] == "95.0 ! †"
    assert notes(rows) == [
        ("!", "masked: look away (label_flip / none)"),
        ("†", "not_adaptive: chosen unseeing; adapt it (biggio / none, label_flip / none)"),
    ]
    assert "- † not\\_adaptive: chosen unseeing" in details_markdown(result(rows))
    assert "95.0 ! †" in render(rows)


# -- several runs ---------------------------------------------------------------------------


def test_several_runs_give_mean_interval_and_sample_deviation():
    accuracies = (0.94, 0.942, 0.944)
    rows = [poisoning(seed=s, attacked_accuracy=a) for s, a in enumerate(accuracies)]
    low, high = Runs.of_accuracies(accuracies, 10000).interval()
    # over n - 1; over n the deviation would be 0.16
    assert cell(rows, "biggio", "none")[:3] == [
        "94.2", f"{100 * low:.1f}-{100 * high:.1f}", "± 0.2"
    ]  # fmt: skip
    sheet = sheet_of(rows)
    assert "mean over 3 runs, beneath it its 95 % interval over trainings and test" in sheet.caption
    assert "sample standard deviation over runs" in sheet.caption


def test_a_run_of_which_nothing_is_left_counts_as_nothing():
    rows = [evasion(seed=seed, attacked_accuracy=a) for seed, a in enumerate((0.0, 0.5))]
    lines = cell(rows, "pgd", "none")
    assert (lines[0], lines[2]) == ("25.0", "± 35.4")
    assert cell(rows[:1], "pgd", "none") == ["0.0", "0.0-0.4"]
    rows = [poisoning(seed=seed, baseline_accuracy=a) for seed, a in enumerate((0.0, 0.5))]
    assert cell(rows, "biggio", "none")[-1] == "flips 25.0"


def test_runs_that_failed_are_counted_beside_the_mean_of_the_others():
    rows = [evasion(seed=0), evasion(seed=1), undone(evasion(seed=2), "failed", "x")]
    first, _, spread = cell(rows, "pgd", "none")
    assert (first, spread) == ("42.1 !", "± 0.0")
    assert notes(rows) == [
        ("!", "runs_missing: 1 of 3 runs failed: x; the same command tries them again (pgd / none)")
    ]
    rows = [evasion(seed=0), undone(evasion(seed=1), "failed", "x")]
    assert cell(rows, "pgd", "none") == ["42.1 !", "39.1-45.2"]


# -- the worst case -------------------------------------------------------------------------


def test_the_worst_row_stands_last_and_only_where_it_adds_something():
    rows = [clean(), evasion("pgd"), evasion("fgsm"), stadv()]
    sheet = sheet_of(rows, [worst_case(), worst_case(threat=threat.flow(30))])
    shown = [(row.attack, row.threat) for row in sheet.rows]
    assert shown[-1] == ("worst", "linf(0.1)")
    assert ("worst", "flow(30)") not in shown
    assert cell(rows, "worst", "none", [worst_case()]) == ["31.0", "28.2-33.9"]
    assert "survives every attack" in sheet.caption


@pytest.mark.parametrize(
    "second", [undone(evasion("fgsm"), "failed", "x"), evasion("fgsm", threat=threat.linf(0.2))]
)
def test_a_threat_with_one_attack_has_no_worst_row(second):
    sheet = sheet_of([evasion("pgd"), second], [worst_case()])
    assert [row.attack for row in sheet.rows] == ["pgd", "fgsm"]
    assert "survives" not in sheet.caption


def test_controls_alone_have_no_worst_row():
    rows = [evasion("noise[eps=0.1]"), evasion("noise[eps=0.1,draws=9]")]
    sheet = sheet_of(rows, [worst_case()])
    assert all(row.attack != "worst" for row in sheet.rows)
    sheet = sheet_of([*rows, evasion("pgd")], [worst_case()])
    assert sheet.rows[-1].attack == "worst"


def test_the_worst_row_has_a_dash_where_there_is_no_figure():
    rows = [evasion("pgd"), evasion("fgsm"), clean("median")]
    assert cell(rows, "worst", "median", [worst_case()]) == ["-"]


def test_a_worst_case_without_an_attack_of_its_row_says_so():
    rows = [evasion(a, d) for a in ("pgd", "fgsm", "square") for d in ("none", "median")]
    undone(rows[-1], "failed", "x")
    full = replace(worst_case(), attacks=("pgd", "fgsm", "square"))
    cases = [full, worst_case(defense="median")]
    assert cell(rows, "worst", "none", cases) == ["31.0", "28.2-33.9"]
    assert cell(rows, "worst", "median", cases) == ["31.0", "28.2-33.9", "partial [2]"]
    sheet = sheet_of(rows, cases)
    assert sheet.notes[1].text == "a worst case without square, with which it could only be lower"


def test_the_worst_row_of_several_runs():
    rows = [evasion(a, seed=s) for a in ("pgd", "fgsm") for s in (0, 1)]
    case = worst_case(0.35, n_runs=2)
    assert cell(rows, "worst", "none", [case]) == ["35.0", "32.1-38.0"]


# -- the whole table ------------------------------------------------------------------------


def test_attacks_are_rows_clean_first_and_defenses_columns_in_their_order():
    rows = [evasion("pgd", "median"), clean("median"), evasion("pgd", "none"), clean("none")]
    sheet = sheet_of(rows)
    assert sheet.defenses == ("median", "none")
    assert [(row.attack, row.label, row.threat) for row in sheet.rows] == [
        ("none", "clean", ""), ("pgd", "pgd linf 0.1", "linf(0.1)")
    ]  # fmt: skip


def test_the_rows_are_those_of_the_other_table_in_its_order_with_its_names():
    rows = [
        poisoning(threat=threat.poison(0.05)), poisoning("backdoor"), evasion("pgd"),
        poisoning("biggio[fraction=0.05]", threat=threat.poison(0.05)), stadv(), clean(),
        evasion("fgsm"),
    ]  # fmt: skip
    found = result(rows, [worst_case()])
    (sheet,), (other,) = make_sheets(found), summaries(found)
    assert sheet.title == other.title == "mnist · mlp · 1 run"
    labels = [line.label for line in other.lines if line.name != FLIPS]
    assert [row.label for row in sheet.rows] == labels
    assert labels[-4:] == ["worst linf 0.1", "biggio", "biggio[fraction=0.05]", "backdoor"]


def test_a_row_has_its_short_name_and_beneath_it_the_one_of_the_gates():
    flows = ("stadv[translation=false]", "stadv[budget=1,translation=true]")
    lines = render(
        [
            evasion(
                attack,
                threat=threat.flow(b),
                parameters={"attack": {"translation": moves, "budget": b}},
            )
            for attack, moves, b in zip(flows, (False, True), (30.0, 1.0), strict=True)
        ]
    ).splitlines()
    first = [re.split(r"\s{2,}", line.strip())[0] for line in lines if line.strip()]
    at = first.index("stadv flow 30")
    assert first[at : at + 3] == ["stadv flow 30", "stadv[", "translation=false]"]
    at = first.index("stadv translation")
    assert first[at : at + 3] == ["stadv translation", "flow 1", "stadv[budget=1,"]
    assert not any(line == "pgd" for line in first)


def test_a_rule_stands_between_sections_alone():
    lines = render([clean(), evasion(), evasion("fgsm"), poisoning()], [worst_case()]).splitlines()
    starts = [line.split()[0][:5] for line in lines if line.split()]
    assert starts[1:12] == [
        "attac", "─────", "clean", "none", "─────", "pgd", "39.1-", "fgsm", "39.1-", "worst", "28.2-",
    ]  # fmt: skip
    assert starts.count("─────") == 3


def test_five_defenses_fit_in_one_table_of_100_columns():
    text = render(full_grid(), [worst_case(defense=d) for d in DEFENSES])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    header = next(line for line in lines if "attack" in line)
    assert header.split() == ["attack", *DEFENSES]
    assert "…" not in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_more_defenses_than_fit_break_into_tables(width):
    defenses = tuple(f"adv_training[attack=pgd[eps=0.{i}]]" for i in range(1, 10))
    text = render(full_grid(defenses), width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    tables = [line for line in lines if re.match(r"\s*attack\s", line)]
    assert len(tables) > 1
    for i in range(1, 10):
        assert text.count(f"eps=0.{i}]]") == 1
    assert text.count("oblivious 61.2") == 27  # every cell whole, on one line
    assert text.count("A row for each attack") == 1


def test_a_wide_terminal_holds_them_side_by_side():
    defenses = tuple(f"defense_{i}" for i in range(9))
    lines = render(full_grid(defenses), width=200).splitlines()
    assert sum(line.strip().startswith("attack") for line in lines) == 1


def test_the_attack_is_shown_as_written_and_not_read_as_markup():
    text = render([evasion("pgd[red]"), undone(evasion("fgsm"), "skipped", "see [bold]this")])
    assert "pgd[red]" in text
    assert "see [bold]this" in text


def test_a_long_spec_goes_on_in_the_next_line_whole():
    spec = "stadv[tau=0.05,kappa=0,search=false,keep=last]"
    words = [line.split()[0] for line in render([evasion(spec)]).splitlines() if line.split()]
    assert spec in "".join(words)


def test_a_spec_is_broken_earlier_only_where_that_saves_a_table():
    spec = "biggio[fraction=0.03]"
    assert spec in render([poisoning(spec)])
    columns = [poisoning(spec, f"defense_no_{i}") for i in range(5)]  # 75 and 4 columns beside it
    assert spec in render(columns, width=100)
    narrow = render(columns, width=99)
    assert spec not in narrow
    assert narrow.count("attack") == 2  # of the table, and of its caption


def test_the_caption_says_how_many_images():
    sheet = sheet_of([clean(), evasion(), poisoning()])
    assert "95 % interval over test images, for one training" in sheet.caption
    assert "1,000 images for evasion rows" in sheet.caption
    assert "10,000 images for clean and poisoning rows" in sheet.caption


def test_the_caption_explains_what_occurs_and_no_more():
    sheet = sheet_of([clean(), poisoning()])
    assert "flips:" in sheet.caption
    assert "needs:" not in sheet.caption
    assert "oblivious:" not in sheet.caption
    assert "10,000 images" in sheet.caption
    assert "evasion" not in sheet.caption


def test_two_datasets_are_two_tables():
    rows = [clean(), clean(dataset="mnist[train=100]")]
    assert [sheet.title for sheet in make_sheets(result(rows))] == [
        "mnist · mlp · 1 run",
        "mnist[train=100] · mlp · 1 run",
    ]


# -- Markdown -------------------------------------------------------------------------------


def test_markdown_has_the_same_cells_and_notes():
    rows = [
        clean(), clean("median"), stadv(flags=[Flag("masked_x", "look *there*")]),
        undone(stadv("median"), "skipped", "a|b <c>"),
    ]  # fmt: skip
    text = details_markdown(result(rows))
    lines = text.splitlines()
    assert "| attack | `none` | `median` |" in lines
    assert "| --- | ---: | ---: |" in lines
    row = next(line for line in lines if line.startswith("| `stadv`"))
    assert row == "| `stadv`<br>flow(30) | **42.1 !**<br>39.1-45.2<br>needs 26.9 | - \\[1\\] |"
    assert "- \\[1\\] a\\|b \\<c\\>" in lines
    assert "- ! masked\\_x: look \\*there\\* (stadv / none)" in lines
    assert text.endswith("\n")


def test_markdown_rows_have_as_many_cells_as_the_header():
    table = [li for li in details_markdown(result(full_grid())).splitlines() if li.startswith("|")]
    assert len(table) == 2 + 5
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}
