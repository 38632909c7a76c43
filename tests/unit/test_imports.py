"""Imports point one way. The order is written down here once; ARCHITECTURE.md tells it in words."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "conformance"

ORDER = (
    {"errors", "processes"},
    {"case"},
    {"features", "relations", "verdict"},
    {"signals"},
    {"compat"},
    {"families"},
    {"placement"},
    {"strategies"},
    {"prefix", "requests"},
    {"reference"},
    {"subject", "trace"},
    {"oracles"},
    {"lab"},
    {"compare", "looks"},
    {"whereabouts"},
    {"needs", "story"},
    {"clauses"},
    {"faults"},
    {"known", "simplify", "confirm"},
    {"examples"},
    {"engine", "held"},
    # Beside the faults themselves: what counts as detected, for which whole items are judged.
    {"faults.detect", "faults.rows"},
    {"isolated"},
    {"lifecycle"},
    {"report"},
    {"_pytest", "plugin"},
    {"matrix"},
    {"cli"},
    {"__main__"},
)
"""The parts of the package, lowest first. A part imports from lower ones and from its own level."""

UPWARD = {
    # A clause asks a fresh process for an answer; the process, when it judges whole items, needs the engine and its clauses.
    ("clauses.lifecycle", "lifecycle"),
    ("faults.weaker", "lifecycle"),
    # A fault in how models are placed is planted in a process that has devices for them.
    ("faults.rows", "isolated"),
}
"""Imports inside a function that do point upwards, each for a reason."""

RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in SOURCES.items()}


def imported(tree: ast.AST, when: str = "now") -> Iterator[tuple[str, str]]:
    """Every imported module, and whether it is imported ``now``, ``late`` (inside a function) or for ``typing`` only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, when) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield _module(f"{node.module}.{name.name}", str(node.module)), when
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in node.body:
                yield from imported(ast.Module([inner], []), "typing")
        else:
            late = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imported(node, "late" if late and when == "now" else when)


def _module(whole: str, without_name: str) -> str:
    return whole if whole.removeprefix("conformance.") in SOURCES else without_name


def own(name: str, when: str) -> set[str]:
    """The modules of this package that module ``name`` imports ``when``."""
    found = {module for module, at in imported(TREES[name]) if at == when and module.partition(".")[0] == "conformance"}
    return {module.partition(".")[2] for module in found}


def part(module: str) -> str:
    return module if module in RANK else module.partition(".")[0]


MODULES = sorted(set(SOURCES) - {""})


def test_the_order_names_every_part_once() -> None:
    assert sum(map(len, ORDER)) == len(RANK)
    assert set(RANK) == {part(name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    upward = {
        target for target in own(name, "now") | own(name, "late") if target and RANK[part(target)] > RANK[part(name)]
    }
    assert {(name, target) for target in upward - own(name, "now")} <= UPWARD
    assert not upward & own(name, "now")


def test_no_reason_to_point_upwards_is_out_of_date() -> None:
    assert all(target in own(name, "late") for name, target in UPWARD)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: own(name, "now") - {name} for name in MODULES}
    # A package and the modules inside it are loaded together: only what lies in between counts.
    graph = {
        name: {target for target in targets if not name.startswith(f"{target}.")} for name, targets in graph.items()
    }
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {name for name in graph if name not in done and graph[name] - {""} <= done}
        assert ready, f"a circle among {sorted(set(graph) - done)}"
        done |= ready


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) == "clauses"])
def test_no_chapter_imports_torch_before_it_is_run(name: str) -> None:
    heavy = {"torch", "transformers", "peft", "hypothesis"}
    assert not heavy & {module.partition(".")[0] for module, when in imported(TREES[name]) if when == "now"}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import conformance", {"torch", "transformers", "peft", "hypothesis", "msgspec"}),
        ("import conformance.devices", {"torch", "transformers", "peft", "hypothesis", "msgspec", "accelerate"}),
        ("import conformance.plugin", {"torch", "transformers", "peft", "hypothesis", "msgspec"}),
        ("import conformance.clauses; conformance.clauses.clauses()", {"torch", "transformers", "peft", "hypothesis"}),
        (
            "import conformance.families; conformance.families.families()",
            {"torch", "transformers", "peft", "hypothesis"},
        ),
        ("import conformance.matrix.run, conformance.matrix.replays", {"torch", "transformers", "peft"}),
        (
            "import conformance.engine.known; conformance.engine.known.load(conformance.engine.known.shipped())",
            {"torch", "transformers", "peft", "hypothesis"},
        ),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, absent: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert not absent & set(done.stdout.split())


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) != "compat"])
def test_no_source_knows_a_version_outside_compat(name: str) -> None:
    """A constant that looks like a release, or a comparison with one, is a difference between releases."""
    tree, prose = TREES[name], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.add(node.value)
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in prose]
    texts = [text for text in constants if isinstance(text, str)]
    assert not [text for text in texts if re.fullmatch(r"[<>=!~ ]*\d+\.\d+(\.\d+)*(\.?(dev|rc)\d+)?", text)]
    assert "version_info" not in ast.unparse(tree) or name in {"families.family", "known"}
    assert not re.search(r"__version__\s*[<>=]|Version\(", ast.unparse(tree))


@pytest.mark.parametrize("name", SOURCES)
def test_sources_and_functions_are_short(name: str) -> None:
    assert len(SOURCES[name].read_text("utf-8").splitlines()) <= 300
    longest: dict[str, int] = defaultdict(int)
    for node in ast.walk(TREES[name]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            longest[node.name] = max(longest[node.name], node.end_lineno - node.lineno + 1)
    most = 39 if part(name) == "clauses" and name != "clauses.registry" else 60
    assert {function: lines for function, lines in longest.items() if lines > most} == {}
