"""What cells are called: in full, in short, and not at all."""

from __future__ import annotations

import itertools

import pytest
from made_grids import FLOWS, parameters_of
from made_rows import clean, evasion, poisoning

from fastadv import threat
from fastadv.errors import InputError
from fastadv.report.names import Names, names_before
from fastadv.report.patterns import Pattern

LIMITS = {FLOWS[0]: threat.flow(30), FLOWS[1]: threat.flow(1), "pgd[steps=5]": threat.linf(0.1)}
ROWS = [clean(), poisoning()] + [
    evasion(attack, threat=limit, parameters={"attack": parameters_of(attack)})
    for attack, limit in LIMITS.items()
]
CELLS = list(itertools.product([row.attack for row in ROWS], ("none", "median")))


def meant(text, names=None):
    return str((names or Names(CELLS, ROWS)).meant(Pattern.parse(text, "--cell"), "--cell"))


@pytest.mark.parametrize(
    ("text", "full"),
    [
        (f"{FLOWS[0]}/median", f"{FLOWS[0]}/median"), ("none/median", "none/median"),
        ("stadv flow 30/median", f"{FLOWS[0]}/median"), (" stadv  flow 30 / * ", f"{FLOWS[0]}/*"),
        ("stadv translation/none", f"{FLOWS[1]}/none"),
        ("stadv translation flow 1/none", f"{FLOWS[1]}/none"),
        ("pgd/none", "pgd[steps=5]/none"), ("pgd linf 0.1/none", "pgd[steps=5]/none"),
        ("biggio/none", "biggio/none"), ("*/none", "*/none"), ("*/*", "*/*"),
    ],
)  # fmt: skip
def test_an_attack_is_named_by_its_spec_and_by_what_the_table_calls_it(text, full):
    assert meant(text) == full
    specs = [row.attack for row in ROWS[1:]]
    assert meant(text, names_before(specs, ["none", "median"])) == full


def test_a_name_that_two_attacks_have_is_refused_with_both_unless_one_is_written_so():
    with pytest.raises(InputError) as refused:
        meant("stadv/median")
    assert str(refused.value) == (
        f"--cell: stadv/median could be {FLOWS[0]}/median or {FLOWS[1]}/median; write one of them"
    )
    names = Names([("pgd", "none"), ("pgd[eps=0.2]", "none")])
    assert meant("pgd/none", names) == "pgd/none"
    assert meant("pgd[eps=0.2]/none", names) == "pgd[eps=0.2]/none"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("bigio/none", "did you mean biggio/none?"), ("biggio/medain", "did you mean biggio/median?"),
        ("stadv flow 20/median", "did you mean stadv flow 30/median or stadv translation flow 1/median?"),
        ("PGD/NONE", "did you mean pgd/none?"),
        ("xyz/none", "(attacks: none, biggio, "), ("worst/none", "names no cell"),
    ],
)  # fmt: skip
def test_a_name_that_no_cell_has_gets_the_nearest_ones(text, hint):
    with pytest.raises(InputError, match="names no cell") as refused:
        meant(text)
    assert hint in str(refused.value)


def test_specs_before_they_are_run_have_the_clean_row_and_the_worst_case():
    names = names_before(["stadv", "pgd"], ["all"])
    assert meant("worst/median", names) == "worst/median"
    assert meant("none/median", names) == "none/median"
    assert names.attacks == ("none", "worst", *FLOWS, "pgd")
