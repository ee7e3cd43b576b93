"""Names in single backticks, as docstrings write them: `PoisonResult`, `craft`, `Poisoning.plan`.

One that is documented anywhere in the site becomes a link, if it can be but one thing. One that
exists in the package, but has no page, stays as it is. What is neither is a warning, and so an
error: it is a name that has been changed, or never was.
"""

from __future__ import annotations

import importlib
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Node | None:
    """Return the link, or the name alone, or None where nothing has that name."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    objects = env.domains.python_domain.objects
    found = {
        (entry.docname, entry.node_id)
        for name, entry in objects.items()
        if name.endswith(f".{target}") and not entry.aliased
    }
    if len(found) == 1:
        ((docname, anchor),) = found
        return make_refnode(app.builder, node["refdoc"], docname, anchor, contnode, target)
    if found or _exists(target, node.get("py:module") or "builtins", node.get("py:class")):
        return contnode
    return None


def _exists(target: str, module: str, owner: str | None) -> bool:
    """Return whether there is such a name: where it is written, in its class, or by its path."""
    homes = [importlib.import_module(module)]
    if owner:
        homes.append(getattr(homes[0], owner.split(".")[-1], None))
        homes.append(importlib.import_module(getattr(homes[-1], "__module__", None) or "builtins"))
    if any(_has(home, target) for home in homes):
        return True
    path = target.split(".")
    for cut in range(len(path) - 1, 0, -1):
        try:
            home = importlib.import_module(".".join(path[:cut]))
        except ImportError:
            continue
        return _has(home, ".".join(path[cut:]))
    return False


def _has(home: Any, name: str) -> bool:
    for part in name.split("."):
        if not hasattr(home, part):
            return False
        home = getattr(home, part)
    return True


def setup(app: Sphinx) -> dict[str, Any]:
    """Look for what Sphinx itself does not find."""
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
