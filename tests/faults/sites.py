"""Where a fault can be planted: the lines of an area's files, each with one small mistake in it."""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def below(pattern: str) -> list[str]:
    """The files of the checkout that have such a path."""
    return [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob(pattern))]


# Of each area its share of a draw and its files, with the functions if not all of a file belong.
AREAS: dict[str, tuple[float, list[str]]] = {
    "kernels": (0.34, [
        path for path in below("fastadv/kernels/**/*.py")
        if not Path(path).name.startswith("_") and Path(path).name != "intrinsics.py"  # no figure
    ]),
    "certificates": (0.12, [
        "fastadv/defenses/certified/interval.py", "fastadv/defenses/certified/smoothing.py",
        "fastadv/defenses/certified/smoothed.py",
        "fastadv/defenses/training/dpa.py", "fastadv/defenses/training/bagging.py", "fastadv/models/voting.py",
    ]),
    "gates": (0.14, [
        "fastadv/report/gates.py", "fastadv/report/compare.py", "fastadv/report/pairs.py",
        "fastadv/grid/trust/cells.py", "fastadv/grid/trust/rows.py", "fastadv/grid/worst.py",
    ]),
    "statistics": (0.12, [
        "fastadv/metrics.py", "fastadv/runs.py", "fastadv/grid/several.py", "fastadv/report/attack_table.py:_share",
        "fastadv/grid/measure.py:_evasion,_poisoning,_certified,_over_all,_quote",
    ]),
    "budgets": (0.06, ["fastadv/threat.py", "fastadv/attacks/evasion/ball.py"]),
    "rows": (0.06, ["fastadv/columns.py", "fastadv/constraints.py"]),
    "models": (0.10, [
        *below("fastadv/models/adapters/onnx_*.py"), *below("fastadv/models/implicit/*.py"),
        "fastadv/models/module_descent.py",
    ]),
    "files": (0.06, ["fastadv/archive.py", "fastadv/files.py", *below("fastadv/grid/executors/*.py")]),
}  # fmt: skip

STRICTER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
REVERSED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "!=", "!=": "==", "in": "not in", "not in": "in", "is": "is not", "is not": "is"}  # fmt: skip
OPPOSITE = {"min": "max", "max": "min", "argmax": "argmin", "argmin": "argmax", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}  # fmt: skip
OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==",
    ast.NotEq: "!=", ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
Edit = tuple[str, ast.expr, ast.expr, str]  # kind; from the start of one node to the end of another


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run: no annotation, decorator, default of a field or text with figures."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.AnnAssign | ast.JoinedStr):
                yield from walk(child)


def operator(text: str, kind: str, left: ast.expr, op: object, right: ast.expr, other: str) -> Edit:
    a, b = ast.get_source_segment(text, left), ast.get_source_segment(text, right)
    between = ast.get_source_segment(text, span(left, right))[len(a) : -len(b)]
    return kind, left, right, a + between.replace(OPERATORS[type(op)], other, 1) + b


def span(first: ast.expr, last: ast.expr) -> ast.expr:
    place = ast.Expression()
    place.lineno, place.col_offset = first.lineno, first.col_offset
    place.end_lineno, place.end_col_offset = last.end_lineno, last.end_col_offset
    return place


def edits(text: str, node: ast.AST) -> Iterator[Edit]:
    """The faults that one node can have."""

    def of(part: ast.AST) -> str:
        return ast.get_source_segment(text, part)

    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
            yield operator(text, "sign", left, op, right, "-" if isinstance(op, ast.Add) else "+")
        case ast.BinOp(_, _, ast.Constant(int(k)) as c) if k > 1:
            yield "constant", c, c, str(k + 1)
        case ast.UnaryOp(ast.USub(), operand):
            yield "sign", node, node, of(operand)
        case ast.Compare(left, [op, *_], [right, *_]):
            word = OPERATORS[type(op)]
            if word in STRICTER:
                yield operator(text, "bound", left, op, right, STRICTER[word])
            yield operator(text, "comparison", left, op, right, REVERSED[word])
        case ast.Call(ast.Name("range"), [last]):
            yield "bound", last, last, f"{of(last)} - 1"
        case ast.Call(ast.Name("range"), [first, *_]):
            yield "bound", first, first, f"{of(first)} + 1"
        case ast.Call(ast.Name(name) | ast.Attribute(_, name), [first, *others]) if (
            name in OPPOSITE
        ):
            called = of(node.func)
            yield "comparison", node.func, node.func, called[: -len(name)] + OPPOSITE[name]
            if others and "arg" not in name:
                kept = others[0] if isinstance(first, ast.Constant) else first
                yield "clip", node, node, f"({of(kept)})"
        case ast.Subscript(_, ast.Name() as i):
            yield "index", i, i, f"{i.id} - 1"
        case ast.Subscript(_, ast.Constant(int(k)) as i):
            yield "index", i, i, str(k + 1 if k == 0 else k - 1)
        case ast.Subscript(_, ast.Tuple([a, b])):
            yield "index", a, b, f"{of(b)}, {of(a)}"
        case ast.Slice(None, ast.expr() as i) | ast.Slice(ast.expr() as i, _):
            yield "index", i, i, f"{of(i)} + 1"
        case ast.Return(ast.Tuple([a, b])) | ast.Assign([ast.Tuple([a, b])], ast.Call()):
            yield "side", a, b, f"{of(b)}, {of(a)}"
        case ast.IfExp(test, a, b):
            yield "side", node, node, f"{of(b)} if {of(test)} else {of(a)}"
            yield "condition", node, node, of(a)
        case ast.BoolOp(op, [*first, last]):
            yield "condition", first[-1], last, of(first[-1])
        case ast.If(test, body):
            guard = isinstance(body[-1], ast.Continue | ast.Return | ast.Raise | ast.Break)
            yield "condition", test, test, "False" if guard else "True"
        case ast.comprehension(_, _, [test]):
            yield "condition", test, test, "True"
        case ast.Constant(float(c)):
            yield "constant", node, node, repr(c / 2 or 1.0)
        case ast.AugAssign(target, ast.Add() | ast.Sub() as op, value):
            sign = OPERATORS[type(op)]
            line = ast.get_source_segment(text, node)
            yield "sign", target, value, line.replace(f"{sign}=", "-=" if sign == "+" else "+=", 1)


def parsed(entry: str) -> tuple[str, str, list[ast.AST]]:
    """A file of an area, its text, and its functions that belong, or all of it."""
    file, _, names = entry.partition(":")
    text = (ROOT / file).read_text(encoding="utf-8")
    tree = ast.parse(text)
    if not names:
        return file, text, [tree]
    wanted = set(names.split(","))
    known = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in wanted]
    if absent := wanted - {n.name for n in known}:
        raise LookupError(f"{file} has no {', '.join(absent)}")
    return file, text, known


def candidates(area: str, entry: str) -> list[dict]:
    """All faults that a file can have."""
    file, text, wanted = parsed(entry)
    lines = text.splitlines()
    found = []
    for kind, first, last, new in (e for top in wanted for n in walk(top) for e in edits(text, n)):
        if first.lineno != last.end_lineno:
            continue
        line = lines[first.lineno - 1].encode()
        now = line[: first.col_offset] + new.encode() + line[last.end_col_offset :]
        was = line.decode().strip()
        nth = sum(other.strip() == was for other in lines[: first.lineno])
        found.append(
            {
                "area": area,
                "file": file,
                "kind": kind,
                "was": was,
                "now": now.decode().strip(),
                "nth": nth,
            }
        )
    return found


def draw(seed: int, n: int) -> Iterator[dict]:
    """Draw so many faults: of an area its share, of its files in turn a kind, of the kind a line."""
    rng = random.Random(seed)
    for area, (share, files) in AREAS.items():
        sites = {entry: candidates(area, entry) for entry in files}
        turns = itertools.cycle(rng.sample(sorted(sites), len(sites)))
        for _ in range(round(share * n)):
            entry = next(entry for entry in turns if sites[entry])
            kind = rng.choice(sorted({fault["kind"] for fault in sites[entry]}))
            fault = rng.choice([fault for fault in sites[entry] if fault["kind"] == kind])
            line = fault["was"], fault["nth"]
            sites[entry] = [f for f in sites[entry] if (f["was"], f["nth"]) != line]
            yield fault
