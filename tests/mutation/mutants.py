"""The mutants of a module, for ``mutate.py``: mutmut makes them from a module whose code is all in functions.

mutmut changes only the bodies of functions without decorators. So a decorator becomes a call after its function, and an
assignment in a module or a class becomes a function that is called in its place; the meaning stays the same.
"""

from __future__ import annotations

import ast
import difflib
import re
from dataclasses import dataclass
from importlib import import_module

PLAIN = (ast.Import, ast.ImportFrom, ast.If, ast.FunctionDef, ast.ClassDef)  # statements that stay in the module
OF_MODULE = "of_module_"
COMMENT = re.compile(r"  # .*")


@dataclass(frozen=True)
class Mutant:
    """A change to one function: mutmut uses the numbered `name`; the other fields are for readers."""

    name: str
    function: str
    was: str
    becomes: str


def prepare(code: str) -> str:
    """Rewrite a module so that the code that an import runs is in functions without decorators."""
    lines = code.splitlines()
    edits: list[tuple[int, int, list[str]]] = []  # first line, line after the last, replacement
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            edits += _undecorate(node, lines)
        elif isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    edits += _undecorate(inner, lines)
                elif isinstance(inner, ast.AnnAssign) and inner.value:
                    function, call = _as_function(inner, lines, f"{node.name}_")
                    edits += [(first, first, function), (inner.lineno - 1, inner.end_lineno or 0, [f"    {call}"])]
        elif not isinstance(node, PLAIN) and not _is_text(node):
            function, call = _as_function(node, lines)
            edits.append((node.lineno - 1, node.end_lineno or 0, [*function, call]))
    for start, end, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        lines[start:end] = new
    return "\n".join(lines) + "\n"


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _undecorate(node: ast.FunctionDef, lines: list[str]) -> list[tuple[int, int, list[str]]]:
    if not node.decorator_list:
        return []
    indent = " " * node.col_offset
    value = node.name
    for decorator in reversed(node.decorator_list):
        value = f"{ast.unparse(decorator)}({value})"
    end = node.end_lineno or 0
    return [(node.decorator_list[0].lineno - 1, node.lineno - 1, []), (end, end, [f"{indent}{node.name} = {value}"])]


def _as_function(node: ast.stmt, lines: list[str], prefix: str = "") -> tuple[list[str], str]:
    """Return a function that does the same as a statement, and the call of it that replaces the statement."""
    body = [f"    {line.strip() if prefix else line}" for line in lines[node.lineno - 1 : node.end_lineno]]
    if isinstance(node, ast.Expr):
        name = f"{OF_MODULE}calls_{ast.unparse(node.value).partition('(')[0].replace('.', '_')}"
        return [f"def {name}():", *body], f"{name}()"
    (target,) = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", ast.Name("_"))]
    assigned = ast.unparse(target)
    name = f"{OF_MODULE}{prefix}{assigned}"
    annotation = f": {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""
    return [f"def {name}():", *body, f"    return {assigned}"], f"{assigned}{annotation} = {name}()"


def mutate(path: str, code: str) -> tuple[str, list[Mutant]]:
    """Return a module with all its mutants; MUTANT_UNDER_TEST in the environment selects one."""
    mutated = import_module("mutmut.mutation.file_mutation").mutate_file_contents(path, code)
    lines = mutated.code.splitlines()
    module = path.removesuffix(".py").replace("/", ".")

    def body(name: str) -> list[str]:
        span = mutated.line_span_by_function_name[name]
        return [COMMENT.sub("", line.strip().replace(f"{name}(", "(")) for line in lines[span.start - 1 : span.end]]

    mutants = []
    for name in mutated.mutant_names:
        function = name.partition("__mutmut_")[0]
        changes = list(difflib.ndiff(body(f"{function}__mutmut_orig"), body(name)))
        was, becomes = (" ".join(line[2:] for line in changes if line.startswith(sign)) for sign in "-+")
        label = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".").removeprefix(OF_MODULE)
        mutants.append(Mutant(f"{module}.{name}", label, was, becomes))
    return mutated.code, mutants
