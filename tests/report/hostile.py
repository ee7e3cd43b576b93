"""Names that kept files may hold, and texts of any kind."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st
from made_grids import cleaned, evaded, kept, poisoned

from fastadv.grid.result import GridResult
from fastadv.grid.row import Flag

SCRIPT = "<script>alert(1)</script>"
NAMES = (
    SCRIPT, "a_b%c&d#e$f{g}h~i^j\\k", "| `x` | `` y", "[1](http://x.y) **b** _i_", "line\nend\ttab",
    "\x1b[31mred\x9b", "=1+1", "'=1", "Übung—ß中文🙂αł", "$x$ \\input{a} %", "- a", "1. b", "*", "[h]",
    "--a,,b<<c", '"a\'b', "\u202eevil", "&lt;b&gt;", " ", "NaN", "<!-- x",
)  # fmt: skip
TEXTS = st.text(
    st.one_of(st.sampled_from("|`\\*_<>[](){}~&%$#!-+=^.:;'\",1a \n\t\x1b/é中"), st.characters()),
    max_size=14,
)


def hostile_grid(folder: Path, names: tuple[str, ...] = NAMES) -> GridResult:
    """A grid with names of that kind everywhere a name can be."""
    cells = []
    for number, name in enumerate(names):
        flags = [Flag(name, f"says {name}", name)] if number % 2 else []
        ids = {"id": f"cell{number}", "dataset": SCRIPT, "model": "m & n", "flags": flags}
        cells.append(cleaned(name, 0.9, 1, **ids))
        cells.append(evaded(name, name, 0.5, 1, **(ids | {"id": f"e{number}"})))
    cells.append(poisoned(SCRIPT, "none", 0.02, 0.01, 1, dataset=SCRIPT, model="m & n", id="p"))
    return kept(folder, *cells)
