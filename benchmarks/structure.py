"""How the code is laid out, counted: lines, rooms, arrows between them, floors and circles.

    python -m benchmarks.structure                  this checkout
    python -m benchmarks.structure --root ../other  another one, of an older commit say
    python -m benchmarks.structure --enter song.flac   files and functions that one track enters

A *room* is what lies in the package `earzip`: a module, or a folder with all that is in it. An *arrow*
leads from a room to one that it imports, at the top, in a function, or for types alone. A room stands on
the *floor* above the highest that it imports; rooms that import each other in a *circle* share one.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import sys
import tempfile
import threading
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGES = {"earzip": "earzip", "cli": "earzip.cli", "formats": "earzip.formats"}
"""Folders of a checkout, and the packages that they are."""

Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    imports: frozenset[str]
    """The modules and names it imports, dotted, ours and others'."""

    @property
    def room(self) -> str:
        """The part of `earzip` that it is, or lies in; `earzip` itself for the package's own face."""
        return room_of(self.name)


def room_of(name: str, depth: int = 1) -> str:
    """Return the first ``depth`` parts of a dotted name behind `earzip`, all of them if it has fewer."""
    return ".".join(name.split(".")[1 : 1 + depth]) or "earzip"


def read_modules(root: Path) -> dict[str, Module]:
    """Return the modules of the checkout at ``root`` by their dotted names."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = Module(name, path, frozenset(_imported(path)))
    return found


def _imported(path: Path) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_graph(modules: Mapping[str, Module]) -> Graph:
    """Return which modules each module imports, of our own. A package's face counts only by name."""
    graph: Graph = {}
    for name, module in modules.items():
        targets = set()
        for imported in module.imports:
            parent = imported.rpartition(".")[0]
            target = imported if imported in modules else parent
            if target in modules and target != name:
                targets.add(target)
        graph[name] = targets
    return graph


def room_graph(modules: Mapping[str, Module], depth: int = 1) -> Graph:
    """Return which rooms each room imports; ``depth`` 2 takes the folders in folders apart."""
    graph: Graph = {}
    for name, targets in module_graph(modules).items():
        room = room_of(name, depth)
        there = graph.setdefault(room, set())
        there |= {room_of(target, depth) for target in targets} - {room}
    return graph


def circles(graph: Graph) -> list[set[str]]:
    """Return the groups of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            group = set()
            while node not in group:
                group.add(stack.pop())
            if len(group) > 1:
                found.append(group)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def floors(graph: Graph) -> dict[str, int]:
    """Return the floor of each node, 1 for those that import none of the others."""
    groups = {node: frozenset(group) for group in circles(graph) for node in group}

    @cache
    def floor(group: frozenset[str]) -> int:
        below = set().union(*(graph.get(node, set()) for node in group)) - group
        return 1 + max((floor(groups.get(t, frozenset({t}))) for t in below), default=0)

    return {node: floor(groups.get(node, frozenset({node}))) for node in graph}


@dataclass
class Lines:
    """Lines of source text."""

    files: int = 0
    lines: int = 0
    code: int = 0
    docstrings: int = 0
    longest: int = 0

    def add(self, text: str) -> None:
        """Count a file."""
        self.files += 1
        n = text.count("\n")
        self.lines += n
        self.longest = max(self.longest, n)
        docs = _docstring_lines(text)
        self.docstrings += len(docs)
        self.code += len(_code_lines(text) - docs)


def _docstring_lines(text: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found |= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return found


def _code_lines(text: str) -> set[int]:
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank and token.type != tokenize.ENDMARKER:
            found |= set(range(token.start[0], token.end[0] + 1))
    return found


def count(root: Path) -> dict[str, object]:
    """Return the figures of the checkout at ``root``."""
    modules = read_modules(root)
    graph, rooms = module_graph(modules), room_graph(modules)
    for entry in ("earzip", "__main__"):  # they hand on what others are
        rooms.pop(entry, None)
        for targets in rooms.values():
            targets.discard(entry)
    importers: dict[str, int] = dict.fromkeys(modules, 0)
    for targets in graph.values():
        for target in targets:
            importers[target] += 1
    lines = {folder: Lines() for folder in PACKAGES}
    total = Lines()
    for module in modules.values():
        text = module.path.read_text("utf-8")
        lines[module.path.relative_to(root).parts[0]].add(text)
        total.add(text)
    found = {**{name: vars(each) for name, each in lines.items()}, "source": vars(total)}
    for folder in ("tests", "benchmarks"):
        other = Lines()
        for path in (root / folder).rglob("*.py"):
            other.add(path.read_text("utf-8"))
        found[folder] = vars(other)
    return {
        "lines": found,
        "modules": len(modules),
        "modules_with_one_importer": sum(n == 1 for n in importers.values()),
        "modules_flat_in_earzip": len(list((root / "earzip").glob("*.py"))),
        "modules_flat_in_formats": len(list((root / "formats").glob("[!_]*.py"))),
        "rooms": len(rooms),
        "arrows": sum(map(len, rooms.values())),
        "pairs_that_import_each_other": sorted(
            f"{a} {b}" for a in rooms for b in rooms[a] if a < b and a in rooms.get(b, ())
        ),
        "floors": max(floors(rooms).values()),
        "circles_of_rooms": [sorted(group) for group in circles(rooms)],
        "circles_of_modules": [sorted(group) for group in circles(graph)],
    }


def enter(source: Path) -> dict[str, dict[str, int]]:
    """Return how many of our files and functions a compress and a restore of ``source`` enter."""
    import earzip.cli  # noqa: PLC0415  # of the environment: it may be another checkout's
    import earzip.formats  # noqa: PLC0415
    from earzip.cli.main import cli  # noqa: PLC0415

    ours = tuple(p for each in (earzip, earzip.cli, earzip.formats) for p in each.__path__)
    found = {}
    # Twice: the first time modules are loaded, and enter functions of their own.
    with tempfile.TemporaryDirectory() as loading, tempfile.TemporaryDirectory() as folder:
        for command in [*_both(source, loading), *_both(source, folder)]:
            seen: set[tuple[str, str]] = set()

            def note(frame: FrameType, event: str, _arg: object, seen: set[Any] = seen) -> None:
                code = frame.f_code
                if (
                    event == "call"
                    and code.co_filename.startswith(ours)
                    and code.co_name != "<module>"
                ):
                    seen.add((code.co_filename, code.co_qualname))

            threading.setprofile(note)
            sys.setprofile(note)
            try:
                cli.main(command)
            except SystemExit as end:
                if end.code:
                    raise
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
            files = len({name for name, _ in seen})
            found[command[0]] = {"files": files, "functions": len(seen)}
    return found


def _both(source: Path, folder: str) -> list[list[str]]:
    archive = str(Path(folder, "a.earz"))
    restored = str(Path(folder, "a.flac"))
    return [["compress", str(source), "-o", archive], ["restore", archive, "-o", restored]]


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--enter", type=Path, metavar="SOURCE")
    arguments = parser.parse_args()
    found = enter(arguments.enter) if arguments.enter else count(arguments.root)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
