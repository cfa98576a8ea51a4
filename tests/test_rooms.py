"""The house: rooms import only from rooms above them, and no two files import each other."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vectalk"
# From the first room to the last. A file imports from its own room and from the rooms named before it.
ROOMS = [
    "version",
    "errors",
    "files",
    "display",
    "reading",
    "hub_address",
    "space",
    "concepts",
    "llm",
    "tasks",
    "readback",
    "model",
    "decoding",
    "training",
    "talk",
    "evaluation",
    "discovery",
    "serving",
    "__init__",  # the public names, each loaded from its home on first use
    "demo",
    "cli",
]


def modules(source: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name; packages go by the name of their folder."""
    names = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that a file imports, inside functions and under TYPE_CHECKING too."""
    targets: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets.update(alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used here"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                targets.update({submodule} & known.keys() or {node.module} & known.keys())
    return targets - {name}


def room(name: str) -> int:
    """The place of a module's room in ROOMS."""
    parts = name.split(".")
    return ROOMS.index(parts[1] if len(parts) > 1 else "__init__")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (strongly connected components of two or more)."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for target in graph[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        reach[start] = seen
    groups = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted(sorted(group) for group in groups)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules(SOURCE)
    return {name: imports(name, path, known) for name, path in known.items()}


def test_each_file_stands_in_a_room(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 100
    assert {name for name in graph if "." in name and name.split(".")[1] not in ROOMS} == set()


def test_rooms_import_only_from_rooms_above(graph: dict[str, set[str]]) -> None:
    upward = [f"{name} -> {target}" for name in graph for target in graph[name] if room(target) > room(name)]
    assert upward == []


def test_no_files_import_each_other(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_a_circle_and_a_hidden_import_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "vectalk"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from vectalk.b import g\n")
    (package / "b.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vectalk import a\n")
    known = modules(package)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert circles(graph) == [["vectalk.a", "vectalk.b"]]


def test_files_stay_small() -> None:
    lines = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    assert {path: count for path, count in lines.items() if count > 400} == {}
