"""The environments: the stacks of pyproject.toml, the sessions of nox that take them, and tox, which runs these."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox
import pytest
from packaging.version import Version

from conformance.compat.versions import OLDEST
from conformance.core.pair import Pair, parse

pytestmark = pytest.mark.light

ROOT = Path(__file__).parent.parent.parent
GROUPS: dict[str, list[Any]] = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
STACKS = {name for name in GROUPS if name.startswith("stack-")}


@pytest.fixture(scope="module")
def tags() -> dict[str, list[str]]:
    """The sessions of nox under the names of tox, with their tags."""
    # Not --json, which lists the default session only.
    command = [sys.executable, "-m", "nox", "--list", "--nocolor", "-f", str(ROOT / "noxfile.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"^[*-] (\S+) (?:\[(\S+)\] )?->", done.stdout, re.MULTILINE)
    return {name.replace("(", "-").rstrip(")"): tags.split(",") for name, tags in found}


def test_tox_runs_the_sessions_of_nox_by_their_names(tags: dict[str, list[str]]) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    single = [name for name in tags if not name.startswith(("stack-", "history-"))]
    assert sorted(tox["tox"]["env_list"].split(", ")) == sorted([*single, "regression"])


def test_every_stack_has_a_session_which_all_releases_share_by_a_tag(tags: dict[str, list[str]]) -> None:
    assert {name for name in tags if name.startswith("stack-")} == STACKS
    assert {name for name, own in tags.items() if "all" in own} == STACKS - {"stack-main"}


@pytest.mark.parametrize("stack", sorted(STACKS - {"stack-newest", "stack-minimum", "stack-main"}))
def test_a_stack_is_named_for_its_releases(stack: str) -> None:
    pins = dict(requirement.split("==") for requirement in GROUPS[stack])
    assert stack == f"stack-peft-{pins['peft']}-transformers-{pins['transformers']}"
    assert parse(stack) == Pair.of(pins)


def test_minimum_is_the_oldest_that_is_supported_and_newest_the_newest_of_all() -> None:
    pairs = [dict(pin.split("==") for pin in GROUPS[name]) for name in STACKS - {"stack-main"}]
    for name, limit in (("stack-minimum", min), ("stack-newest", max)):
        pins = dict(pin.split("==") for pin in GROUPS[name])
        for package, oldest in OLDEST.items():
            assert pins[package] == limit((pair[package] for pair in pairs), key=Version)
            assert Version(pins[package]) >= Version(oldest)
    assert all(pin.split("==")[1].startswith(OLDEST[pin.split("==")[0]]) for pin in GROUPS["stack-minimum"][1:])


def test_main_is_what_upstream_has_now() -> None:
    assert all(re.search(r" @ git\+https://\S+@main$", pin) for pin in GROUPS["stack-main"][1:])


def test_the_nightly_report_is_made_on_the_reference_stack() -> None:
    reference = re.findall(r'^REFERENCE_STACK = "(.+)"$', (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE)
    nightly = (ROOT / ".github" / "workflows" / "nightly.yml").read_text("utf-8")
    assert set(reference) == set(re.findall(r"--group (stack-[\w.-]+)", nightly)) <= STACKS
    assert reference


def test_every_stack_has_the_same_torch() -> None:
    assert len({pin for stack in STACKS for pin in GROUPS[stack] if pin.startswith("torch")}) == 1


def test_pre_commit_uses_the_linters_of_the_lint_group() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert set(re.findall(r"additional_dependencies: \[(\S+)\]", text)) == set(GROUPS["lint"])


def test_every_action_is_pinned_to_one_commit_whose_version_is_said() -> None:
    pins: dict[str, set[str]] = {}
    for file in (ROOT / ".github" / "workflows").iterdir():
        for used in re.findall(r"uses: (\S+/.*)", file.read_text("utf-8")):
            if used.startswith("./"):
                continue
            found = re.fullmatch(r"([\w-]+/[\w-]+)\S*@([0-9a-f]{40} # v\d+\.\d+\.\d+)", used)
            assert found, used
            pins.setdefault(found[1], set()).add(found[2])
    assert pins
    assert all(len(versions) == 1 for versions in pins.values()), pins
