"""Which small faults can be made in a file's code, and the code with one of them; nothing here runs it.

No fault is made where none can be seen, whatever the code does: in annotations, decorators (`frozen`, `slots`),
docstrings and the wording of errors; in zip's `strict`, which refuses what never comes; in a field's `repr`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests import ROOT

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "argmax": "argmin", "any": "all", "all": "any", "mean": "sum", "sum": "mean",
    "floor": "ceil", "ceil": "floor", "round": "int", "base": "adapter", "adapter": "base", "first": "second",
    "height": "width", "width": "height", "low": "high", "high": "low", "background": "background_low",
}  # fmt: skip


class Mutant(NamedTuple):
    """A fault in a file: where its syntax tree has it, and in words."""

    path: Path
    position: int
    fault: int
    words: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.words}"


def places(source: str) -> list[tuple[int, int, str]]:
    """Every fault that can be made: the node's position, the fault's number there, and line and fault in words."""
    tree = ast.parse(source)
    left_out = {id(part) for node in ast.walk(tree) for root in _left_out(node) for part in ast.walk(root)}
    found = []
    for position, node in enumerate(list(ast.walk(tree))):
        if id(node) in left_out:
            continue
        before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
        for fault, _ in enumerate(_faults(node)):
            after = ast.unparse(node)
            found.append((position, fault, f"{node.lineno}: {_short(before)} -> {_short(after)}"))
    return found


def faulty(source: str, position: int, fault: int) -> str:
    """The source with one fault."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[position]
    for at, _ in enumerate(_faults(node)):
        if at == fault:
            break
    return ast.unparse(ast.fix_missing_locations(tree))


def _short(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= 100 else line[:70] + " … " + line[-28:]


def _left_out(node: ast.AST) -> Iterator[ast.AST]:
    """What is no number and no sentence of the product: annotations, decorators, docstrings, the wording of errors."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
        yield node.body[0]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield from node.decorator_list
    if isinstance(node, ast.FunctionDef) and node.returns:
        yield node.returns
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield node.annotation
    if isinstance(node, ast.Raise):
        yield node
    if isinstance(node, ast.Assign) and re.search(r"Literal\[|tuple\[|NDArray|Font$|__all__", ast.unparse(node)):
        yield node
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cast", "TypeAlias"):
        yield node.args[0]
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if _only_checks(node, keyword))
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        yield from (part for part in node.comparators if isinstance(part, ast.Tuple))  # whose order says nothing


def _only_checks(call: ast.Call, keyword: ast.keyword) -> bool:
    """Whether a keyword changes nothing that is computed: `zip(strict=…)`, `field(repr=…)`."""
    return (ast.unparse(call.func), keyword.arg) in {("zip", "strict"), ("field", "repr")}


def _faults(node: ast.AST) -> Iterator[None]:
    """Make one fault after another in a node; whoever stops keeps the one just made."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            node.ops = [SWAPS[type(operator)]()]
            yield
            node.ops = [operator]
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in SWAPS:
            node.op = SWAPS[type(operator)]()
            yield
            node.op = operator
        case ast.BoolOp(op=operator):
            node.op = SWAPS[type(operator)]()
            yield
            node.op = operator
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert() as operator, operand=operand):
            node.op = ast.UAdd() if isinstance(operator, ast.USub) else ast.Not()
            node.operand = operand if isinstance(operator, ast.USub) else ast.UnaryOp(ast.Not(), operand)
            yield
            node.op, node.operand = operator, operand
        case ast.Constant(value=bool() as value):
            node.value = not value
            yield
            node.value = value
        case ast.Constant(value=int() | float() as value):
            node.value = value * 2 if isinstance(value, float) and value else value + 1
            yield
            node.value = value
        case ast.Constant(value=str() as value) if value.strip():
            node.value = f"XX{value}"
            yield
            node.value = value
        case ast.Name(id=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            node.id = NAMES[name]
            yield
            node.id = name
        case ast.Attribute(attr=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            node.attr = NAMES[name]
            yield
            node.attr = name
        case ast.If(test=test) | ast.IfExp(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
            yield
            node.test = test
        case ast.Return(value=ast.AST() as value) if not isinstance(value, ast.Constant):
            node.value = ast.Constant(None)
            yield
            node.value = value
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper) as part):
            part.lower, part.upper = None, upper
            if lower is not None:
                yield
            part.lower, part.upper = lower, None
            if upper is not None:
                yield
            part.lower, part.upper = lower, upper
        case ast.Call(keywords=[_, *_] as keywords):
            for gone in range(len(keywords)):
                if _only_checks(node, keywords[gone]):
                    continue
                node.keywords = keywords[:gone] + keywords[gone + 1 :]
                yield
            node.keywords = keywords
        case ast.Tuple(elts=[first, second]) if isinstance(node.ctx, ast.Load) and ast.dump(first) != ast.dump(second):
            node.elts = [second, first]
            yield
            node.elts = [first, second]


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and methods of its classes, with their qualified names; not those inside of functions."""
    scopes: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree)]
    while scopes:
        prefix, scope = scopes.pop()
        for each in scope.body:
            if isinstance(each, ast.ClassDef):
                scopes.append((f"{prefix}{each.name}.", each))
            elif isinstance(each, ast.FunctionDef):
                yield prefix + each.name, each


def function_of(source: str, position: int) -> str | None:
    """The name, as of `functions`, of the one whose body a node stands in; None for what runs at import."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[position]
    inside = (name for name, each in functions(tree) if any(node in ast.walk(line) for line in each.body))
    return next(inside, None)
