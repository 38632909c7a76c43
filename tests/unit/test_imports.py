"""What is imported when, and what no source may know. import-linter checks which way imports point: see pyproject.toml."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.light

PACKAGE = Path(__file__).parents[2] / "conformance"
SOURCES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
HEAVY = {"torch", "transformers", "peft", "accelerate", "hypothesis"}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import conformance", {*HEAVY, "msgspec"}),
        ("import conformance.plugin", {*HEAVY, "msgspec"}),
        ("import conformance.clauses; conformance.clauses.clauses()", HEAVY),
        ("import conformance.families; conformance.families.families()", HEAVY),
        ("import conformance.families.traits", HEAVY),
        ("from conformance.methods import METHODS, method_named; list(map(method_named, METHODS))", HEAVY),
        ("import conformance.oracles.table, conformance.devices.maps", HEAVY),
        ("from conformance.engine import known; known.load(known.shipped())", HEAVY - {"hypothesis"}),
        ("import conformance.matrix.run, conformance.matrix.replays", HEAVY - {"hypothesis"}),
        (
            "import conformance.session.judge, conformance.pytest_plugin.items, conformance.cli.app",
            HEAVY - {"hypothesis"},
        ),
        ("import conformance.report.page, conformance.report.markdown", HEAVY),
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


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith("compat/")])
def test_no_source_knows_a_version_outside_compat(name: str) -> None:
    """A constant that looks like a release, or a comparison with one, is a difference between releases."""
    tree, prose = SOURCES[name], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.add(node.value)
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in prose]
    texts = [text for text in constants if isinstance(text, str)]
    assert not [text for text in texts if re.fullmatch(r"[<>=!~ ]*\d+\.\d+(\.\d+)*(\.?(dev|rc)\d+)?", text)]
    assert not re.search(r"__version__\s*[<>=]", ast.unparse(tree))


def test_no_source_outside_families_knows_an_argument_of_one_model() -> None:
    """What a kind of input is called by the models that take it is in its own file."""
    names = re.compile(r"^(pixel_|image_|input_features|vision_)")
    knows = {
        name
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and names.match(node.value)
    }
    assert {name for name in knows if not name.startswith("families/inputs/")} == set()


SAME_NAME = {
    "cli": "a verb of the command is called like what it shows or runs",
    "clauses": "a clause is called like its claim",
    "faults": "a weaker check is called like the clause it stands for",
    "oracles": "an oracle is called like its function",
    "devices": "each lane is installed by a function of that name",
}
"""Rooms whose functions may have the name of another's, and why."""


def test_a_public_name_is_defined_once() -> None:
    """Of functions and classes: who reads a name knows what it is, wherever it stands."""
    defined = defaultdict(set)
    for name, tree in SOURCES.items():
        room = name.partition("/")[0].removesuffix(".py")
        for node in tree.body:
            if (
                isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
                and room not in SAME_NAME
            ):
                defined[node.name].add(name)
    assert {name: where for name, where in defined.items() if len(where) > 1} == {}
