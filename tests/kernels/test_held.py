"""Every kernel is held by a test: by one that is named here, or inside another that is."""

from __future__ import annotations

import ast
import types
from pathlib import Path
from typing import Any

import pytest
from helpers import kernels

TESTS = Path(__file__).parent.parent
# Each test compares with a twin, a plain NumPy expression, SciPy, or a case whose answer is known.
HELD = {
    "attacks/test_spatial.py test_moves_equal_their_twin": "images.affine: rotate_translate",
    "defenses/test_voting.py test_training_by_products_of_images_is_training": "network.votes: fit_softmax",
    "defenses/test_voting.py test_votes_nearby_are_the_votes_anew": "network.votes: votes_nearby move",
    "kernels/test_attack_kernels.py test_ascent_equals_its_twin_and_has_a_slope_for_any_row": "network.loss: ascent",
    "kernels/test_attack_kernels.py test_boundary_steps_equal_their_twins_and_arrive": "images.boundary: dual_norms add_step",
    "kernels/test_attack_kernels.py test_dlr_equals_its_twin": "network.loss: dlr",
    "kernels/test_attack_kernels.py test_square_windows_equal_their_twins": "images.square: linf_window l2_window",
    "kernels/test_attack_kernels.py test_tanh_space_equals_its_twin_and_differences": "images.tanh_space: pull_to_weights adam_step",
    "kernels/test_blocks.py test_rows_by_their_blocks_are_the_matrix": "linalg.blocks: compress",
    "kernels/test_flow_search.py test_lbfgs_minimises_problems_of_different_kinds_side_by_side": "linalg.lbfgs: advance",
    "kernels/test_flow_search.py test_marks_equal_their_twin_and_mean_what_they_say": "images.flow: mark_cells",
    "kernels/test_flow_search.py test_the_better_flows_are_kept": "images.flow: keep_flows",
    "kernels/test_flow_search.py test_the_papers_flow_loss": "images.flow: add_pair_loss",
    "kernels/test_flow_search.py test_the_search_equals_its_twin": "images.flow_search: advance climb",
    "kernels/test_images.py test_flow_kernels_equal_their_twins": "images.flow: warp warp_gradient add_flow_loss_gradient",
    "kernels/test_images.py test_mean_equals_its_twin_and_scipy": "images.filters: mean spread",
    "kernels/test_images.py test_median_equals_its_twin_and_scipy": "images.filters: median scatter",
    "kernels/test_images.py test_projections_equal_their_twins_and_stay_inside": "images.project: box linf_project l2_project linf_step l2_step momentum_step climb distances",
    "kernels/test_interval.py test_kernels_equal_their_twins": "network.interval: worst_case",
    "kernels/test_interval.py test_margins_equal_their_twin": "network.interval: worst_margins",
    "kernels/test_network.py test_losses_equal_their_twins_and_survive_large_logits": "network.loss: margin",
    "kernels/test_network.py test_neighbors_equal_their_twin": "linalg.neighbors: nearest",
    "kernels/test_network.py test_non_zeros_are_those_of_the_matrix": "linalg.sparse: count compress gram_times",
    "kernels/test_network.py test_passes_equal_their_twins": "network.dense: forward parameter_gradient pack forward_rows input_gradient_rows",
    "kernels/test_network.py test_random_numbers_are_those_of_their_twin_in_any_order": "random: uniform normal",
    "kernels/test_network.py test_training_equals_its_twin_for_any_threads": "training.sgd: epoch",
    "kernels/test_smooth.py test_fast_normals_equal_their_twin": "random: gauss",
    "kernels/test_smooth.py test_kernels_equal_their_twins": "network.smooth: votes expected expected_gradient",
    "kernels/test_svm_kernels.py test_decisions_and_their_gradient_equal_their_twins": "svm.dual: linear_decision rbf_decision rbf_input_gradient",
    "kernels/test_svm_kernels.py test_poison_gradient_equals_its_twin": "svm.poison: fill_kernel poison_gradient",
    "kernels/test_unroll.py test_rows_of_a_step_equal_their_twins": "training.unroll: train_rows reverse_rows",
    "kernels/test_unroll.py test_training_and_its_derivative_equal_their_twins": "training.unroll: validation_loss train reverse",
}


def named() -> set[str]:
    lines = (held.split(": ") for held in HELD.values())
    return {f"{file}.{name}" for file, names in lines for name in names.split()}


def called(kernel: Any) -> list[Any]:
    """Return what the code of a kernel names: of its own file, and of the files that it imports."""
    function = kernel.py_func
    names = function.__code__.co_names
    own = [function.__globals__.get(name) for name in names]
    files = [thing for thing in own if isinstance(thing, types.ModuleType)]
    return own + [getattr(file, name, None) for file in files for name in names]


@pytest.mark.compiled
def test_every_kernel_is_held() -> None:
    every = kernels()
    assert len(every) > 50
    names = {id(kernel): name for name, kernel in every.items()}
    assert named() <= set(every)
    held, new = set(), named()
    while new:
        held |= new
        inside = {names.get(id(thing)) for name in new for thing in called(every[name])}
        new = inside - held - {None}
    assert sorted(set(every) - held) == []


def test_what_holds_them_is_there() -> None:
    for place in HELD:
        file, name = place.split()
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place
