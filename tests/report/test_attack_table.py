from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

from fastadv.attacks.evasion.cw import CW
from fastadv.attacks.poisoning.backdoor import Backdoor
from fastadv.report.attack_table import evasion_table, poisoning_table
from fastadv.results import EvasionResult, PoisonEvaluation, PoisonResult
from fastadv.task import Task

ASKED = SimpleNamespace(attack="cw", model="mlp")


def printed(table):
    stream = io.StringIO()
    Console(file=stream, width=100).print(table)
    return stream.getvalue()


def first(count: int, n: int) -> Any:
    return np.arange(n) < count


def attacked(n: int, right: int, survive: int) -> Any:
    turned = first(right, n) & ~first(survive, n)
    result = EvasionResult(np.zeros((n, 1)), turned, turned, ~first(right, n), {})
    data = SimpleNamespace(name="mnist", task=Task((1, 1), 2))
    return SimpleNamespace(
        asked=ASKED, attack=CW(), data=data, X=result.x_adv, y=np.zeros(n), result=result,
        seconds=1.0,
    )  # fmt: skip


def test_every_share_has_its_interval_over_the_images_that_it_is_of():
    out = printed(evasion_table(attacked(1000, right=980, survive=490), 2))
    assert "cw on mlp, mnist, 1,000 test images" in out
    assert "98.0% (96.9-98.7)" in out
    assert "49.0% (45.9-52.1)" in out  # of 1,000
    assert "50.0% (46.9-53.1)" in out  # of the 980 that were right
    assert "success at any distance" in out
    assert "1,000 images/s (2 threads, 1.00 s)" in out
    assert "95 % Wilson" in out


def test_nothing_right_has_no_success():
    out = printed(evasion_table(attacked(3, right=0, survive=0), 1))
    assert "success" not in out
    assert "(1 thread, " in out


def test_a_trigger_s_success_is_a_share_of_the_other_classes():
    n, others = 10000, 9020
    evaluation = PoisonEvaluation(
        predicted=np.where(first(9650, n), 1, 2), survives=first(990, n), success_rate=9000 / others
    )
    y = np.where(first(others, n), 1, 0)
    right_after = int((evaluation.predicted == y).sum())
    result = PoisonResult(np.empty((0, 1)), y, np.arange(550), np.empty(0), details={"target": 0})
    task = Task((1, 1), 2, class_names=("zero", "one"))
    data = SimpleNamespace(name="mnist", task=task, x_train=np.empty((55000, 1)))
    out = printed(
        poisoning_table(
            SimpleNamespace(
                asked=ASKED, attack=Backdoor(), data=data, y=y, result=result,
                right_before=first(9700, n), evaluation=evaluation, seconds=2.0,
            )
        )
    )  # fmt: skip
    assert "97.0% " in out
    assert f"{right_after / n:.1%} " in out
    assert "99.8% (99.7-99.9)" in out
    assert "550 (1.00% of 55,000)" in out
    assert re.search(r"accuracy under trigger\(0.01\) +9.9% ", out)
    assert re.search(r"target +zero", out)
