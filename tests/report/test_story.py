"""All that is known of one cell: what a story holds, of made-up folders."""

from __future__ import annotations

import numpy as np
import pytest
from made_grids import cleaned, default_grid, evaded, kept, poisoned
from made_rows import evasion as evasion_row
from made_rows import result, undone

from fastadv import threat
from fastadv.grid.row import Flag
from fastadv.report.story import QUANTILES, Distance, Story, story, worst_story

FLAG = Flag("masked", "the gradient is zero", "use square")


def flowed(folder, n_runs=2):
    """A kept cell of stadv: some images are never turned."""
    runs = evaded("stadv", "none", 0.5, n_runs, threat.flow(30))
    for k, (row, arrays) in enumerate(runs):
        right, n = arrays["clean"] == arrays["y"], row.n
        arrays["is_adv"] = right & ((np.arange(n) % 5 != 3) | ~arrays["robust"])
        arrays["flow_loss"] = np.where(arrays["robust"], 30.5, 12.0) + k
        arrays["l2"] = np.full(n, np.nan)
        arrays["examples"], arrays["examples_adv"] = np.zeros((16, 4)), np.ones((16, 4))
        arrays["attacked"] = np.where(arrays["is_adv"], 9, arrays["y"])
        row.distances = {"l2": 1.0, "flow_loss": 20.0}
        row.queries, row.seconds = {"forward": 3.0}, {"perturb": 0.5}
        row.parameters = {"attack": {"budget": 30.0}, "defense": {}, "model": {}}
        row.flags = [FLAG]
    return kept(folder, runs, grid={"samples": 1000, "repeats": n_runs})


def named(found: Story):
    return {stated.name: stated for stated in found.figures}


def test_a_story_of_an_evasion_cell_counts_each_image_once_and_keeps_its_distances(tmp_path):
    found = flowed(tmp_path)
    (row,) = found.rows
    told = story(found, row)
    assert told.name == "stadv/none"
    assert told.kind == "evasion"
    assert told.figure == row.attacked_accuracy
    assert [(run.seed, run.n_images) for run in told.runs] == [(0, 500), (1, 500)]
    outcome, arrays = told.outcome, found.samples(row)
    right = arrays["clean"] == arrays["y"]
    assert outcome.n == 1000 == outcome.wrong + outcome.turned + outcome.beyond + outcome.never
    assert outcome.wrong == (~right).sum()
    assert outcome.turned == (right & ~arrays["robust"]).sum()
    assert outcome.never == (right & ~arrays["is_adv"]).sum() > 50
    flow_loss = told.distances[0]
    assert [d.name for d in told.distances] == ["flow_loss"]  # no l2 is finite
    assert flow_loss.budget == 30.0
    assert sorted(set(flow_loss.values)) == [12.0, 13.0, 30.5, 31.5]
    assert len(flow_loss.values) == arrays["is_adv"].sum()
    assert flow_loss.quantiles == tuple(np.quantile(flow_loss.values, QUANTILES))
    assert told.flags == (FLAG,)
    assert told.seconds == {"perturb": 1.0}  # the sum over runs
    assert told.queries == {"forward": 3.0}  # their mean
    assert told.parameters["attack"] == {"budget": 30.0}
    assert told.command == (
        "fastadv grid --attacks stadv --defenses none --dataset mnist --model mlp --samples 1000 "
        "--repeats 2"
    )
    assert named(told)["accuracy"].meaning == "are right, and stay so within flow(30)"
    assert [s.figure for s in told.figures[:2]] == [row.attacked_accuracy, row.clean_accuracy]


def test_its_pictures_are_of_the_first_run_with_what_the_model_says_and_the_distance(tmp_path):
    found = flowed(tmp_path)
    told = story(found, found.rows[0])
    arrays = found.samples(found.rows[0])
    assert len(told.pictures) == 8
    for k, picture in enumerate(told.pictures):
        assert picture.after.shape == (2, 2, 1)
        assert picture.after.mean() == 1.0
        assert picture.before.mean() == 0.0
        assert picture.label == str(arrays["y"][k])
        assert picture.said == (str(arrays["clean"][k]), str(arrays["attacked"][k]))
        assert picture.distance == arrays["flow_loss"][k]


def test_a_story_of_poison_has_points_lost_beside_random_flips_and_its_draws(tmp_path):
    runs = poisoned("biggio", "none", 0.03, 0.004, 3, found={"kept": "start"})
    for k, (row, _) in enumerate(runs):
        row.draw, row.poison = f"draw {k % 2}", {"points": 60.0, "fraction": 0.03}
    found = kept(tmp_path, runs)
    told = story(found, found.rows[0])
    assert told.kind == "poisoning"
    assert [s.name for s in told.figures] == [
        "points lost", "random flips", "accuracy", "clean", "with flips",
    ]  # fmt: skip
    assert told.lost == found.rows[0].accuracy_lost
    assert told.flips_lost == found.rows[0].baseline_lost
    assert told.lost.value > told.flips_lost.value > 0
    assert told.draws == 2
    assert (told.poison, told.found) == ({"points": 60.0, "fraction": 0.03}, {"kept": "start"})
    assert told.outcome is None
    assert told.distances == ()


def test_the_clean_row_says_its_figure_once(tmp_path):
    found = default_grid(tmp_path)
    told = story(found, found.rows[0])
    assert (told.name, told.kind, told.pictures) == ("none/none", "clean", ())
    assert [s.name for s in told.figures] == ["accuracy"]


def test_a_cell_without_a_figure_and_one_of_lost_files_have_a_story_too():
    skipped = undone(evasion_row(), "skipped", "no gradient")
    told = story(result([skipped]), skipped)
    assert (told.status, told.reason, told.figure) == ("skipped", "no gradient", None)
    assert told.runs == told.distances == told.pictures == ()
    found = result([evasion_row()])  # keeps no samples
    told = story(found, found.rows[0])
    assert told.figure is not None
    assert told.outcome is None


def test_a_worst_case_tells_its_attacks_and_its_runs(tmp_path):
    cells = [
        cleaned("none", 0.98, 2), evaded("pgd", "none", 0.4, 2),
        evaded("fgsm", "none", 0.5, 2, flags=[FLAG]),
    ]  # fmt: skip
    found = kept(tmp_path, *cells, grid={"samples": 1000, "repeats": 2})
    (case,) = found.worst
    told = worst_story(found, case)
    assert told.name == "worst/none"
    assert [attack for attack, _ in told.parts] == ["pgd", "fgsm"]
    assert told.parts[1][1].value == pytest.approx(0.5, abs=0.05)
    mean = np.mean([run.attacked_accuracy for run in told.runs])
    assert mean == pytest.approx(told.figure.value, abs=1e-12)
    assert told.flags == (Flag("masked", "fgsm: the gradient is zero", "use square"),)
    assert "--attacks pgd,fgsm --defenses none" in told.command


# -- distances ------------------------------------------------------------------------------


def histogram(values, budget=None, bins=10):
    values = np.asarray(values, dtype=np.float64)
    return Distance("linf", values, (), budget).histogram(bins)


@pytest.mark.parametrize("budget", [None, 0.3, 0.001, 7.0])
def test_a_histogram_counts_every_value_once(budget):
    values = np.random.default_rng(0).random(500)
    found = histogram(values, budget)
    assert found.counts.sum() + found.above == 500
    assert len(found.counts) == len(found.edges) - 1
    assert 10 <= len(found.counts) <= 12
    assert found.edges[0] >= 0
    assert (budget == 0.3) == any(np.isclose(found.edges, 0.3))
    steps = np.diff(found.edges)[1:-1]
    assert np.allclose(steps, steps[0])


def test_a_histogram_is_not_stretched_by_a_few_and_not_torn_by_rounding():
    stretched = histogram([*np.linspace(1, 2, 999), 1000.0])
    assert stretched.above >= 1
    assert stretched.edges[-1] < 2.1
    alike = histogram([0.1, 0.1, np.float32(0.1)], 0.1)
    assert alike.counts.tolist() == [3]
