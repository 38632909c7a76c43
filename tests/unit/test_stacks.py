"""The environments are written down three times, each in the words of its tool; here they are held together."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import nox
import pytest
from packaging.version import Version

from conformance.compat.versions import OLDEST
from conformance.core.pair import Pair, parse

ROOT = Path(__file__).parent.parent.parent
GROUPS: dict[str, list[Any]] = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
STACKS = {name for name in GROUPS if name.startswith("stack-")}


def expanded(text: str) -> list[str]:
    """``a-{b,c}`` as tox reads it: ``a-b`` and ``a-c``."""
    parts = [part.split(",") for part in re.split(r"[{}]", text)]
    return ["".join(chosen) for chosen in product(*parts)]


@pytest.fixture(scope="module")
def tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", "utf-8")
    return parser


def environments(text: str) -> list[str]:
    """The names in a list of tox, in which commas within braces separate nothing."""
    return [name for part in re.split(r",\s+|\n+", text.strip()) for name in expanded(part.strip())]


@pytest.fixture(scope="module")
def tags() -> dict[str, list[str]]:
    """The sessions of nox under the names of tox, with their tags."""
    # Not --json, which lists the default session only.
    command = [sys.executable, "-m", "nox", "--list", "--nocolor", "-f", str(ROOT / "noxfile.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"^[*-] (\S+) (?:\[(\S+)\] )?->", done.stdout, re.MULTILINE)
    return {name.replace("(", "-").rstrip(")"): tags.split(",") for name, tags in found}


@pytest.fixture(scope="module")
def sessions(tags: dict[str, list[str]]) -> list[str]:
    return list(tags)


def test_tox_has_the_sessions_of_nox(tox: configparser.ConfigParser, sessions: list[str]) -> None:
    assert environments(tox["tox"]["env_list"]) == sessions


def test_tox_has_the_tags_of_nox_as_labels(tox: configparser.ConfigParser, tags: dict[str, list[str]]) -> None:
    for line in tox["tox"]["labels"].strip().splitlines():
        label, _, names = line.partition(" = ")
        assert set(environments(names)) == {name for name, own in tags.items() if label in own}


def test_every_stack_has_a_session_which_all_releases_share_by_a_tag(tags: dict[str, list[str]]) -> None:
    assert {name for name in tags if name.startswith("stack-")} == STACKS
    assert {name for name, own in tags.items() if "all" in own} == STACKS - {"stack-main"}


def test_a_stack_of_tox_takes_the_group_of_its_name(tox: configparser.ConfigParser) -> None:
    assert "stack: {env_name}" in tox["testenv"]["dependency_groups"].splitlines()
    assert not [name for name in tox if name.startswith("testenv:stack")]


def test_no_other_environment_names_a_stack_that_is_not_there(tox: configparser.ConfigParser) -> None:
    used = {
        name for section in tox.values() for name in re.findall(r"stack-[a-z]\S+", section.get("dependency_groups", ""))
    }
    assert used < STACKS


def test_history_takes_the_stack_it_is_named_for(tox: configparser.ConfigParser, sessions: list[str]) -> None:
    lines = [line for line in tox["testenv"]["dependency_groups"].splitlines() if line.startswith("history-")]
    stacks = {frozenset(factors.split("-")): stack for factors, stack in (line.split(": ") for line in lines)}
    named = [name for name in sessions if name.startswith("history-")]
    assert len(named) == len(stacks) == len(lines)
    for session in named:
        stack = session.replace("history-", "stack-")
        assert stack in STACKS
        assert [stacks[factors] for factors in stacks if factors <= set(session.split("-"))] == [stack]


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


def test_every_stack_has_the_same_torch() -> None:
    assert len({pin for stack in STACKS for pin in GROUPS[stack] if pin.startswith("torch")}) == 1


def test_pre_commit_uses_the_linters_of_the_lint_group() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert set(re.findall(r"additional_dependencies: \[(\S+)\]", text)) == set(GROUPS["lint"])


def test_tox_tells_history_as_nox_does(tox: configparser.ConfigParser) -> None:
    body = (ROOT / "noxfile.py").read_text("utf-8").partition("\ndef history(")[2].partition("\n\n\n")[0]
    assert 'session.run("python", "tests/history/tell.py", session.create_tmp(), *session.posargs)' in body
    assert (
        "history: python tests{/}history{/}tell.py {env_tmp_dir} {posargs}" in tox["testenv"]["commands"].splitlines()
    )


def test_tox_lints_every_workflow(tox: configparser.ConfigParser) -> None:
    files = sorted((ROOT / ".github" / "workflows").iterdir())
    assert tox["workflows"]["files"].replace("{/}", "/").split() == [str(file.relative_to(ROOT)) for file in files]


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
