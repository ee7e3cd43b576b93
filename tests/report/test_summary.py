"""The table of one figure a cell, and the sentences below it, over made-up folders."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from made_grids import FLOWS, cleaned, default_grid, evaded, kept, parameters_of, poisoned
from made_rows import clean, evasion, full_grid, poisoning, result, undone, worst_case
from rich.cells import cell_len
from rich.console import Console

from fastadv import threat
from fastadv.grid.ranking import best, candidate
from fastadv.grid.row import WAITING, Figure, Flag
from fastadv.grid.store import SampleFiles
from fastadv.report.markdown import grid_markdown
from fastadv.report.names import short_names
from fastadv.report.summary import Entry, summaries
from fastadv.report.summary_table import growing_table, summary_table
from fastadv.report.verdict import verdict

FLAG = Flag("masked", "the gradient is zero", "use square")


def printed(found, width=80, table=summary_table):
    stream = io.StringIO()
    Console(file=stream, width=width).print(table(found))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def sheet_of(found):
    (sheet,) = summaries(found)
    return sheet


def line_of(found, label):
    (line,) = [line for line in sheet_of(found).lines if line.label == label]
    return line


def said(found):
    sheet = sheet_of(found)
    return verdict(sheet, found.samples)


# -- a cell ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(0.421, 0.391, 0.453, 1000), "42.1±3.1"), (Figure(1.0, 0.9962, 1.0, 1000), "100.0±0.2"),
        (Figure(0.0, 0.0, 0.0038, 1000), "0.0±0.2"), (Figure(0.98, None, None, 0), "98.0"),
        (Figure(-0.0004, -0.001, 0.0002, 1000), "0.0±0.1"), (Figure(-0.012, -0.02, -0.004, 9), "-1.2±0.8"),
        (None, "-"),
    ],
)  # fmt: skip
def test_a_cell_is_a_figure_in_per_cent_and_half_of_its_interval(figure, text):
    assert Entry(figure).text == text


def test_the_rows_are_clean_evasion_worst_and_points_lost(tmp_path):
    found = kept(
        tmp_path, *(cleaned(d, 0.98, 3) for d in ("none", "median")),
        *(evaded(a, d, 0.4, 3) for a in ("pgd", "fgsm") for d in ("none", "median")),
        *(poisoned("biggio", d, 0.03, 0.01, 3) for d in ("none", "median")),
    )  # fmt: skip
    sheet = sheet_of(found)
    assert sheet.defenses == ("none", "median")
    assert [section.heading for section in sheet.sections] == [
        "", "", "points of clean accuracy lost to 3 % poison"
    ]  # fmt: skip
    assert [[line.label for line in section.lines] for section in sheet.sections] == [
        ["clean"], ["pgd linf 0.1", "fgsm linf 0.1", "worst linf 0.1"], ["biggio", "random flips"]
    ]  # fmt: skip
    rows = {(row.attack, row.defense): row for row in found}
    assert line_of(found, "clean").entries[0].figure == rows["none", "none"].attacked_accuracy
    assert (
        line_of(found, "pgd linf 0.1").entries[1].figure == rows["pgd", "median"].attacked_accuracy
    )
    assert line_of(found, "biggio").entries[1].figure == rows["biggio", "median"].accuracy_lost
    assert line_of(found, "random flips").entries[0].figure == rows["biggio", "none"].baseline_lost
    assert line_of(found, "worst linf 0.1").entries[0].figure == found.worst[0].accuracy
    assert (
        line_of(found, "biggio")
        .entries[0]
        .text.startswith(f"{100 * (rows['biggio', 'none'].accuracy_lost.value):.1f}±")
    )


def test_what_has_no_figure_says_so_and_why_below_the_table():
    rows = [
        clean(), clean("median"), undone(evasion("pgd", "median"), "skipped", "no gradient"),
        evasion("pgd"), undone(evasion("fgsm"), "failed", "it broke"), evasion("fgsm", "median", seed=0),
        undone(evasion("cw"), "timeout", "it broke"), undone(evasion("cw", "median"), WAITING, None),
    ]  # fmt: skip
    found = result(rows)
    assert [e.text for e in line_of(found, "pgd linf 0.1").entries] == ["42.1±3.1", "- [1]"]
    assert [e.text for e in line_of(found, "fgsm linf 0.1").entries] == ["failed [2]", "42.1±3.1"]
    assert [e.text for e in line_of(found, "cw linf 0.1").entries] == ["timeout [2]", "·"]
    lines = printed(found)
    assert " [1] no gradient" in lines
    assert " [2] it broke" in lines
    assert printed(found, table=growing_table)[-1] != " [2] it broke"
    alone = [clean(), evasion("pgd", "median")]  # of a folder that lost a cell
    assert [e.text for e in line_of(result(alone), "pgd linf 0.1").entries] == ["", "42.1±3.1"]


def test_a_flag_marks_its_figure_and_a_note_does_not(tmp_path):
    found = kept(
        tmp_path, evaded("pgd", "none", 0.4, 3),
        evaded("pgd", "median", 0.9, 3, flags=[FLAG], notes=[Flag("so", "it may be")]),
    )  # fmt: skip
    sheet = sheet_of(found)
    assert [entry.flag for entry in sheet.lines[0].entries] == [False, True]
    assert [(note.mark, note.text) for note in sheet.notes] == [
        ("!", "masked: the gradient is zero; use square (pgd / median)")
    ]
    lines = printed(found)
    assert any(re.search(r"±\d\.\d!$", line) for line in lines)
    assert any("the gradient is zero; use square" in line for line in lines)


def test_the_title_says_that_a_model_is_a_black_box():
    note = Flag("black_box", "forest is a black box, met by predict_proba")
    assert sheet_of(result([clean(notes=[note]), evasion("square")])).title.endswith(" · black box")
    assert "black box" not in sheet_of(result([clean(), evasion("square")])).title


# -- the best of a row ----------------------------------------------------------------------


def test_a_flagged_cell_is_never_the_best_and_does_not_hide_who_is(tmp_path):
    cells = [("none", 0.3, []), ("median", 0.9, [FLAG]), ("trades", 0.6, []), ("spatial", 0.4, [])]
    found = kept(tmp_path, *(evaded("pgd", d, p, 3, flags=f) for d, p, f in cells))
    assert line_of(found, "pgd linf 0.1").best == ("trades",)
    assert [entry.best for entry in sheet_of(found).lines[0].entries] == [False, False, True, False]
    all_flagged = kept(tmp_path / "b", *(evaded("pgd", d, p, 3, flags=[FLAG]) for d, p, _ in cells))
    assert line_of(all_flagged, "pgd linf 0.1").best == ()


def test_what_a_test_cannot_tell_from_the_best_is_starred_too(tmp_path):
    found = kept(
        tmp_path, evaded("pgd", "none", 0.3, 5), evaded("pgd", "trades", 0.60, 3),
        evaded("pgd", "keep", 0.595, 3),
    )  # fmt: skip
    first, *tied = line_of(found, "pgd linf 0.1").best
    assert {first, *tied} == {"trades", "keep"}
    values = {row.defense: row.attacked_accuracy.value for row in found}
    assert values[first] == max(values.values())
    (line,) = [line for line in printed(found) if line.startswith(" pgd")]
    assert line.count("*") == 2


def test_the_test_is_adjusted_for_the_number_of_defenses(tmp_path):
    """A difference that one test of its own would call significant, and not one of four."""

    def starred(folder, close):
        cells = [poisoned("biggio", f"close {i}", 0.0115, None, 3) for i in range(close)]
        first = poisoned("biggio", "first", 0.01, None, 3)
        return line_of(kept(folder, first, *cells), "biggio").best

    assert starred(tmp_path / "one", 1) == ("first",)
    assert starred(tmp_path / "four", 4) == ("first", *(f"close {i}" for i in range(4)))


def test_one_run_has_no_star_against_another_training_but_in_one_model(tmp_path):
    def grid(folder, *weights):
        made = [evaded("pgd", d, p, 1) for d, p in (("none", 0.3), ("median", 0.6))]
        for (cell,), weight in zip(made, weights, strict=True):
            cell[0].weights = weight
        return kept(folder, *made)

    apart, one = grid(tmp_path / "apart", "a", "b"), grid(tmp_path / "one", "a", "a")
    assert line_of(apart, "pgd linf 0.1").best == ()
    assert line_of(one, "pgd linf 0.1").best == ("median",)
    assert said(apart) == ["One run tells no defense from another: --repeats 3 or more does."]
    one_beside_many = kept(
        tmp_path / "few", evaded("pgd", "none", 0.3, 1), evaded("pgd", "median", 0.6, 3)
    )
    assert line_of(one_beside_many, "pgd linf 0.1").best == ()
    same = kept(tmp_path / "same", *(  # a random_state in the spec: three runs of one training
        [(replace_weights(run, "w"), a) for run, a in evaded("pgd", d, p, 3)]
        for d, p in (("none", 0.3), ("median", 0.6))))  # fmt: skip
    assert line_of(same, "pgd linf 0.1").best == ()


def replace_weights(row, weights):
    row.weights = weights
    return row


def test_the_best_against_poison_loses_least(tmp_path):
    found = kept(
        tmp_path, poisoned("biggio", "none", 0.03, 0.01, 3, before=0.99),
        poisoned("biggio", "median", 0.01, 0.01, 3, before=0.90),
    )  # fmt: skip
    assert line_of(found, "biggio").best == ("median",)
    rows = {row.defense: row for row in found}
    assert rows["median"].attacked_accuracy.value < rows["none"].attacked_accuracy.value


def test_without_samples_nothing_is_the_best(tmp_path):
    found = kept(tmp_path, evaded("pgd", "none", 0.3, 3), evaded("pgd", "median", 0.9, 3))
    assert line_of(found, "pgd linf 0.1").best == ("median",)
    assert line_of(replace(found, folder=None), "pgd linf 0.1").best == ()
    (tmp_path / "cells" / "pgd-none-1.npz").unlink()
    found = replace(found, files=SampleFiles())  # which have read nothing yet
    assert line_of(found, "pgd linf 0.1").best == ()
    assert candidate(found[0], found.samples) is None
    assert best([candidate(found[1], found.samples)]) == ()


def test_the_best_worst_case(tmp_path):
    found = kept(
        tmp_path, *(evaded(a, "none", p, 3) for a, p in (("pgd", 0.6), ("square", 0.3))),
        *(evaded(a, "median", p, 3) for a, p in (("pgd", 0.4), ("square", 0.5))),
    )  # fmt: skip
    assert line_of(found, "pgd linf 0.1").best == ("none",)
    assert line_of(found, "worst linf 0.1").best == ("median",)


def test_a_worst_case_that_is_not_to_be_trusted_does_not_hide_which_is_the_best(tmp_path):
    cells = (("none", 0.3), ("median", 0.9), ("trades", 0.6), ("spatial", 0.4))
    flags = {"median": [FLAG]}
    found = kept(
        tmp_path / "all",
        *(evaded(a, d, p, 3, flags=flags.get(d, [])) for a in ("pgd", "fgsm") for d, p in cells),
    )
    line = line_of(found, "worst linf 0.1")
    assert [entry.flag for entry in line.entries] == [False, True, False, False]
    assert line.best == ("trades",)
    # One attack that is not flagged is enough: the worst case is as good as its figure.
    flags = {("pgd", "median"): [FLAG]}
    found = kept(
        tmp_path / "one",
        *(
            evaded(a, d, p, 3, flags=flags.get((a, d), []))
            for a in ("pgd", "fgsm")
            for d, p in cells
        ),
    )
    line = line_of(found, "worst linf 0.1")
    assert not any(entry.flag for entry in line.entries)
    assert line.best == ("median",)


@pytest.mark.parametrize(("status", "runs"), [("failed", 1), ("failed", 3), ("skipped", 3)])
def test_a_worst_case_without_an_attack_is_marked_and_never_the_best(tmp_path, status, runs):
    lacking = evaded("fgsm", "median", 0.9, 3)
    for row, _ in lacking[3 - runs :]:
        undone(row, status, "x")
    found = kept(
        tmp_path, evaded("pgd", "none", 0.3, 3), evaded("fgsm", "none", 0.3, 3),
        evaded("pgd", "median", 0.9, 3), lacking, evaded("pgd", "keep", 0.6, 3),
        evaded("fgsm", "keep", 0.6, 3),
    )  # fmt: skip
    line = line_of(found, "worst linf 0.1")
    assert [entry.flag for entry in line.entries] == [False, True, False]
    assert line.best == ("keep",)


# -- poison ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "heading"),
    [
        (threat.poison(0.03), "3 % poison"), (threat.poison(0.005), "0.5 % poison"),
        (threat.poison(0.03, 30), "30 points of poison"),
        (threat.trigger(0.01), "1 % poison and a trigger"),
        (threat.trigger(0.01, 20), "20 points of poison and a trigger"),
    ],
)  # fmt: skip
def test_the_heading_says_how_much_poison(limit, heading):
    (section,) = sheet_of(result([poisoning(threat=limit)])).sections
    assert section.heading == f"points of clean accuracy lost to {heading}"


def test_random_flips_are_a_line_for_each_baseline(tmp_path):
    two = ("biggio", "label_flip[strategy=coherent]")
    same = kept(tmp_path / "a", *(poisoned(a, "none", 0.03, 0.01, 2) for a in two))
    assert [line.name for line in sheet_of(same).lines] == ["biggio", "label_flip", "random flips"]
    more = threat.poison(0.1)
    other = kept(
        tmp_path / "b", poisoned("biggio", "none", 0.03, 0.01, 2),
        poisoned("biggio[fraction=0.1]", "none", 0.08, 0.04, 2, more),
        poisoned("backdoor", "none", 0.9, None, 2, threat.trigger(0.03)),
    )  # fmt: skip
    assert [[line.name for line in section.lines] for section in sheet_of(other).sections] == [
        ["biggio", "random flips"], ["biggio", "random flips"], ["backdoor"]
    ]  # fmt: skip


# -- names ----------------------------------------------------------------------------------


def rows_of(*given):
    return [
        evasion(attack, threat=limit or threat.linf(0.1), parameters={"attack": parameters})
        for attack, limit, parameters in given
    ]


def test_a_short_name_tells_an_attack_from_others_of_its_name():
    eps = [(f"pgd[eps={e}]", threat.linf(e), {"eps": e, "steps": 40}) for e in (0.1, 0.2)]
    assert list(short_names(rows_of(*eps)).values()) == ["pgd", "pgd"]  # the budget stands beside
    steps = [(f"pgd[steps={k}]", None, {"eps": 0.1, "steps": k}) for k in (5, 50)]
    assert list(short_names(rows_of(*steps)).values()) == ["pgd steps=5", "pgd steps=50"]
    alone = rows_of(("pgd[steps=5,eps=0.1]", None, {"eps": 0.1, "steps": 5}))
    assert list(short_names(alone).values()) == ["pgd"]
    flows = [(a, threat.flow(parameters_of(a)["budget"]), parameters_of(a)) for a in FLOWS]
    assert list(short_names(rows_of(*flows)).values()) == ["stadv", "stadv translation"]


def test_a_name_that_would_stand_for_two_is_written_out():
    unknown = rows_of(("pgd[steps=5]", None, {}), ("pgd[steps=50]", None, {}))
    assert list(short_names(unknown).values()) == ["pgd[steps=5]", "pgd[steps=50]"]


# -- in a terminal --------------------------------------------------------------------------


def test_the_default_grid_has_no_wrapped_cell_at_80_columns(tmp_path):
    lines = printed(default_grid(tmp_path))
    assert max(map(cell_len, lines)) <= 80
    shown = {line.split()[0]: line for line in lines if "±" in line and "half" not in line}
    assert list(shown) == ["clean", "pgd", "stadv", "biggio", "random"]  # stadv: the second one
    for line in shown.values():
        assert len(re.findall(r"\d+\.\d±\d+\.\d", line)) == 5
    assert sum(line.startswith(" stadv") for line in lines) == 2
    assert lines[1] == " mnist · mlp · 5 runs"


def test_flags_and_stars_do_not_move_the_columns(tmp_path):
    plain = printed(default_grid(tmp_path / "a"))
    flagged = printed(default_grid(tmp_path / "b", bit_depth={"flags": [FLAG]}))

    def edges(lines):
        return [
            [match.end() for match in re.finditer(r"\d±\d+\.\d", line)]
            for line in lines
            if "±" in line and "half" not in line
        ]

    assert edges(plain) == edges(flagged)
    assert len({tuple(one) for one in edges(plain)}) == 1
    assert any(line.endswith("!") for line in flagged)


@pytest.mark.parametrize("width", [44, 60, 80])
def test_more_defenses_than_fit_break_into_blocks_that_repeat_the_attacks(width):
    defenses = tuple(f"adv_training[attack=pgd[eps=0.{i}]]" for i in range(1, 10))
    rows = [clean(d) for d in defenses] + [evasion("pgd", d) for d in defenses]
    rows += [poisoning(defense=d) for d in defenses]
    lines = printed(result(rows), width)
    assert max(map(cell_len, lines)) <= width
    blocks = sum(line.startswith(" clean ") for line in lines)
    assert blocks > 1
    heading = "points of clean accuracy lost to 3 % poison"
    for text in ("pgd linf 0.1", "biggio", heading, "random flips"):
        assert sum(line.startswith(f" {text}") for line in lines) == blocks
    assert sum(line.count("42.1±3.1") for line in lines) == 9
    text = re.sub(r"\s+", "", "".join(lines))
    assert all(f"eps=0.{i}]]" in text for i in range(1, 10))
    assert sum("Accuracy in %" in line for line in lines) == 1


def test_a_wide_terminal_holds_them_side_by_side():
    defenses = tuple(f"defense_{i}" for i in range(9))
    lines = printed(result(full_grid(defenses)), 200)
    assert sum(line.startswith(" clean ") for line in lines) == 1


def test_a_long_name_goes_on_in_the_next_line_whole():
    rows = rows_of(("stadv[tau=0.05,kappa=0,search=false,keep=last]", None, {}),
                   ("stadv[tau=0.06,kappa=0,search=false,keep=last]", None, {}))  # fmt: skip
    lines = printed(result(rows))
    text = re.sub(r"\s+", "", "".join(lines))
    assert "stadv[tau=0.05,kappa=0,search=false,keep=last]linf0.1" in text
    assert max(line.index("±") for line in lines if re.search(r"42\.1±", line)) < 50


def test_names_are_not_read_as_markup():
    lines = printed(result([evasion("pgd", "[red]x"), undone(evasion("fgsm", "[red]x"), "skipped", "see [bold]this")]))  # fmt: skip
    assert any("[red]x" in line for line in lines)
    assert any("see [bold]this" in line for line in lines)


def test_the_caption_says_what_the_figures_count(tmp_path):
    caption = sheet_of(default_grid(tmp_path)).caption
    assert "± half of its 95 % interval over runs and test images" in caption
    assert "1,000 images under evasion, 2,000 else" in caption
    assert "* best of its row, and what a paired test (Holm, 5 %) cannot tell from it" in caption
    one = sheet_of(result([clean(), evasion()])).caption
    assert "interval over test images, of one run" in one
    assert "best of its row" not in one


def test_two_models_are_two_tables():
    sheets = summaries(result([clean(), clean(model="svm"), evasion(), evasion(model="svm")]))
    assert [sheet.title for sheet in sheets] == ["mnist · mlp · 1 run", "mnist · svm · 1 run"]


def test_a_worst_case_without_one_of_its_attacks_is_flagged():
    attacks = ("pgd", "fgsm", "square")
    rows = [evasion(a, d) for a in attacks for d in ("none", "median")]
    undone(rows[-1], "failed", "x")
    cases = [
        worst_case(attacks=attacks),
        worst_case(0.4, "median", attacks=attacks[:2], missing=("square",)),
    ]
    entries = line_of(result(rows, cases), "worst linf 0.1").entries
    assert [(entry.text, entry.flag) for entry in entries] == [
        ("31.0±2.9", False), ("40.0±3.0", True)
    ]  # fmt: skip
    assert sheet_of(result([evasion("pgd"), evasion("cw", threat=threat.l2(1))])).lines[-1].kind == "evasion"  # fmt: skip


# -- the verdict ----------------------------------------------------------------------------


def test_the_verdict_of_a_grid(tmp_path):
    found = default_grid(tmp_path)
    line = {line.label: line for line in sheet_of(found).lines}
    shown = {label: one.entries[1].text.partition("±")[0] for label, one in line.items()}
    first, second, third, fourth, last = said(found)
    assert first.startswith(
        f"Against pgd linf 0.1 adv_training is best ({shown['pgd linf 0.1']} %)"
    )
    price = [float(entry.text.partition("±")[0]) for entry in line["clean"].entries]
    cost = float(re.search(r"costs (\d\.\d) points on clean images\.$", first)[1])
    assert cost == pytest.approx(price[0] - price[1], abs=0.11)  # of two rounded figures
    assert second == (  # its price has been told
        f"Against stadv flow 30 adv_training is best ({shown['stadv flow 30']} %), tied with "
        "knn_relabel."
    )
    none = line["stadv translation flow 1"].entries[0].text.partition("±")[0]
    assert third == f"Against stadv translation flow 1 no defense is better than none ({none} %)."
    assert re.match(
        r"Against biggio knn_relabel is best \(0\.2 points lost\); it costs 1\.\d", fourth
    )
    assert last == "biggio takes no more than random flips do from knn_relabel."


def against(folder, **accuracies):
    cleans = [cleaned(d, 0.98 - 0.01 * i, 3) for i, d in enumerate(accuracies)]
    return kept(folder, *cleans, *(evaded("pgd", d, p, 3) for d, p in accuracies.items()))


def test_ties_are_called_ties(tmp_path):
    for number, (grid, words) in enumerate([
        ({"none": 0.5, "median": 0.5}, r"no defense is told from another \(\w+: \d+\.\d %\)\."),
        ({"none": 0.5, "median": 0.505, "svd": 0.2}, r"median \(\d+\.\d %\) is not told from none\."),
        ({"none": 0.505, "median": 0.5, "svd": 0.2}, r"no defense is better than none \(\d+\.\d %\)\."),
        ({"none": 0.1, "a": 0.51, "b": 0.508, "c": 0.506},
         r"a is best \(\d+\.\d %\), tied with b and c; it costs 1\.\d points on clean images\."),
    ]):  # fmt: skip
        (sentence,) = said(against(tmp_path / str(number), **grid))
        assert re.fullmatch(rf"Against pgd linf 0\.1 {words}", sentence), sentence


def test_a_defense_that_is_better_on_clean_images_gains(tmp_path):
    found = kept(
        tmp_path, cleaned("none", 0.90, 3), cleaned("bagging", 0.95, 3),
        evaded("pgd", "none", 0.1, 3), evaded("pgd", "bagging", 0.5, 3),
    )  # fmt: skip
    (sentence,) = said(found)
    assert re.search(r"; it gains \d\.\d points on clean images\.$", sentence)


def test_poison_that_does_no_more_than_flips_is_called_so(tmp_path):
    """Where a test cannot tell them apart, and where it tells that it does less."""
    lost = {"none": (0.05, 0.01), "median": (0.0105, 0.01), "svd": (0.01, 0.05)}
    found = kept(tmp_path, *(poisoned("biggio", d, a, b, 3) for d, (a, b) in lost.items()))
    assert said(found)[-1] == "biggio takes no more than random flips do from median and svd."
    one = kept(tmp_path / "one", *(poisoned("biggio", d, a, b, 1) for d, (a, b) in lost.items()))
    assert said(one) == ["One run tells no defense from another: --repeats 3 or more does."]


def test_without_a_second_defense_nothing_is_said(tmp_path):
    assert said(kept(tmp_path, cleaned("none", 0.9, 1), evaded("pgd", "none", 0.4, 1))) == []


# -- Markdown -------------------------------------------------------------------------------


def test_markdown_has_the_same_cells_stars_notes_and_sentences(tmp_path):
    found = default_grid(tmp_path, bit_depth={"flags": [FLAG]})
    text = grid_markdown(found)
    lines = text.splitlines()
    assert lines[2] == "|  | `none` | `adv_training` | `knn_relabel` | `median` | `bit_depth` |"
    assert lines[3] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    entries = {line.label: line.entries for line in sheet_of(found).lines}
    (pgd,) = [line for line in lines if line.startswith("| pgd")]
    shown = [entry.text for entry in entries["pgd linf 0.1"]]
    assert pgd == f"| pgd linf 0.1 | {shown[0]} | **\\*{shown[1]}** | {shown[2]} | {shown[3]} | {shown[4]}! |"  # fmt: skip
    assert "| *points of clean accuracy lost to 3 % poison* |  |  |  |  |  |" in lines
    assert "- ! masked: the gradient is zero; use square (pgd / bit\\_depth, " in text
    for sentence in said(found):
        assert f"- {sentence}".replace("_", "\\_") in lines
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")} == {7}


def test_what_comes_from_a_file_is_only_text_in_markdown():
    rows = [evasion("pgd", "a|b"), undone(evasion("fgsm", "a|b"), "failed", "<b>*x*|y")]
    text = grid_markdown(result(rows))
    assert "- \\[1\\] \\<b\\>\\*x\\*\\|y" in text
