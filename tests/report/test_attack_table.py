from __future__ import annotations

import io
import re

from rich.console import Console

from fastadv.report.attack_table import (
    EvasionSummary,
    PoisoningSummary,
    evasion_table,
    poisoning_table,
)


def printed(table):
    stream = io.StringIO()
    Console(file=stream, width=100).print(table)
    return stream.getvalue()


def test_every_share_has_its_interval_over_the_images_that_it_is_of():
    summary = EvasionSummary(
        attack="pgd", model="mlp, mnist", threat="linf(0.1)", n=1000, right=980, survive=500,
        succeed=490, distances={}, queries={}, seconds=1.0, threads=2, minimum_norm=True,
    )  # fmt: skip
    out = printed(evasion_table(summary))
    assert "98.0% (96.9-98.7)" in out
    assert out.count("50.0% (46.9-53.1)") == 2  # of 1,000, and of the 980 that were right
    assert "success at any distance" in out
    assert "95 % Wilson" in out


def test_nothing_right_has_no_success():
    summary = EvasionSummary(
        attack="pgd", model="mlp, mnist", threat="linf(0.1)", n=3, right=0, survive=0, succeed=0,
        distances={}, queries={}, seconds=1.0, threads=1,
    )  # fmt: skip
    assert "success" not in printed(evasion_table(summary))


def test_a_trigger_s_success_is_a_share_of_the_other_classes():
    summary = PoisoningSummary(
        attack="backdoor", model="mlp, mnist", threat="trigger(0.01)", n=10000, right_before=9700,
        right_after=9650, survive=990, n_clean=55000, points=550, seconds=2.0,
        triggered=(9000, 9020), details={"target": 0},
    )  # fmt: skip
    out = printed(poisoning_table(summary))
    assert "99.8% (99.7-99.9)" in out
    assert "550 (1.00% of 55,000)" in out
    assert re.search(r"accuracy under trigger\(0.01\) +9.9% ", out)
