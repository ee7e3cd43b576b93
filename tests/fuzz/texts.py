"""Configurations, gates and specs, as users and files give them."""

from __future__ import annotations

from pathlib import Path

from fastadv import registry
from fastadv.cli.grid_options import resolve_grids
from fastadv.datasets import load_dataset
from fastadv.errors import InputError
from fastadv.report.gates import Gate
from fastadv.specs import Spec, format_spec

_CONFIG = """\
# a grid
attacks = ["pgd[eps=0.1,steps=5]", "stadv", "biggio"]
defenses = "none, median[size=3]"
dataset = "mnist[classes=7-1,train=300]"
model = "mlp[hidden_layer_sizes=64-32]"
samples = 100
repeats = 3
seed = 1
jobs = 2
timeout = "10m"
output = "results"
"""
_GATES = """\
"*/*" = "20%"
"pgd[eps=0.1]/median" = "80.5%"
"worst/none" = 12.5
'biggio/*' = 90
"""


def configs() -> list[bytes]:
    return [
        _CONFIG.encode(),
        b"attacks = 'all'\nseeds = 1\n",
        b"[a.b]\nc.d = {e = [1, 2.5, 1979-05-27]}\n",
    ]


def read_config(path: Path) -> int:
    resolve_grids({}, path)
    return 0


def gates() -> list[bytes]:
    return [_GATES.encode()]


def read_gates(path: Path) -> int:
    Gate.parse(str(path))
    return 0


def specs() -> list[bytes]:
    """Every name with all that it may be given, at its defaults; data sets, gates."""
    found = []
    for what in ("attack", "defense", "model"):
        for name in registry.names(what):
            entry = registry.find(what, name)
            kinds = registry.parameter_kinds(entry.load(), set(entry.nested))
            if (what, name) == ("attack", "none"):
                continue
            try:
                values = registry.parameters(registry.make(what, name))
            except InputError:  # it needs a library that is not there
                continue
            given = {key: value for key, value in values.items() if key in kinds}
            found.append(f"{what} {format_spec(name, given)}")
    found += ["attack pgd[eps=8/255,steps=3]", "defense adv_training[attack=pgd[eps=0.1,steps=5]]"]
    found += [
        f"dataset {text}"
        for text in (
            "digits[classes=7-1,train=20,val=4,test=9,split=2]",
            "some.csv[label=a,shape=4x3]",
            "~nobody/x",
            "a/b.npz",
        )
    ]
    found += [f"gate {text}" for text in ("pgd/median=80%,backdoor/*=5%", "75%")]
    return [text.encode() for text in found]


def read_specs(path: Path) -> int:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8", "surrogatepass")  # a half of a pair, as in JSON
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")  # as in an argument
    what, _, spec = text.partition(" ")
    if what == "dataset":
        parsed = Spec.of_data(spec)
        if parsed.name != "mnist":  # slow
            load_dataset(spec)
    elif what == "gate":
        Gate.parse(spec)
    else:
        kind = what if what in ("attack", "defense", "model") else "attack"
        made = registry.make(kind, spec)
        text = registry.canonical(made)
        text.encode()
        if registry.canonical(registry.make(kind, text)) != text:
            raise AssertionError(f"{text} is not read back")
    return 0
