"""Specs from the command line, checked by name without importing any attack or defense."""

from __future__ import annotations

from collections.abc import Sequence

from fastadv import registry, sources
from fastadv.errors import InputError
from fastadv.specs import Spec, split_top_level

MODEL_HELP = (
    "See fastadv list models. Or one that is trained: FILE.npz or FILE.safetensors that fastadv "
    "has saved, FILE.onnx, FILE.skops of scikit-learn, or FILE.py:FACTORY or "
    "PACKAGE.MODULE:FACTORY, which runs that code: a function that takes the task and returns what "
    "fastadv.wrap takes."
)


def check_spec(what: str, text: str) -> None:
    """Raise InputError unless ``text`` is a spec of an attack, defense or model: of ``what``."""
    spec = Spec.parse(text)
    entry = registry.find(what, spec.name)
    for key in entry.nested:
        if key in spec.parameters:
            check_spec("attack", spec.parameters[key])


def check_model(text: str) -> None:
    """Raise InputError unless ``text`` is a spec of a model, or tells where a trained one is."""
    if sources.is_source(text):
        sources.check_source(text)
    else:
        check_spec("model", text)


def spec_list(what: str, given: str | Sequence[str]) -> list[str]:
    """Return the specs of a comma list (or a TOML list), each once; ``all`` is every known name.

    Raises
    ------
    InputError
        For an empty list, a name that is not known, or a spec that does not parse.
    """
    texts = split_top_level(given) if isinstance(given, str) else [text.strip() for text in given]
    if not texts:
        known = ", ".join(names(what))
        raise InputError(f"the list of {what}s is empty (known: {known})")
    specs: list[str] = []
    for text in texts:
        specs += _usable(what) if text == "all" else [text]
    for text in specs:
        check_spec(what, text)
    return list(dict.fromkeys(specs))


def names(what: str) -> list[str]:
    """Return every known name; of attacks all but ``none``, which every grid has."""
    return [name for name in registry.names(what) if (what, name) != ("attack", "none")]


def _usable(what: str) -> list[str]:
    """Return the `names` without those of plug-ins that cannot be imported."""
    usable = {entry.name for entry in registry.entries(what)}
    return [name for name in names(what) if name in usable]


def complete_list(what: str, incomplete: str) -> list[str]:
    """Return completions of a comma list: of its last part, with what stands before it."""
    before, comma, last = incomplete.rpartition(",")
    if incomplete.count("[") != incomplete.count("]"):
        return []  # inside the brackets of a spec
    return [before + comma + name for name in [*names(what), "all"] if name.startswith(last)]
