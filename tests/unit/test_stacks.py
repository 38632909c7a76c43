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


@pytest.fixture(scope="module")
def sessions() -> list[str]:
    # Not --json, which lists the default session only.
    command = [sys.executable, "-m", "nox", "--list", "--nocolor", "-f", str(ROOT / "noxfile.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = re.findall(r"^[*-] (\S+) ->", done.stdout, re.MULTILINE)
    return [name.replace("(", "-").rstrip(")") for name in names]


def test_tox_has_the_sessions_of_nox(tox: configparser.ConfigParser, sessions: list[str]) -> None:
    environments = [name for part in re.split(r",\s+", tox["tox"]["env_list"]) for name in expanded(part)]
    assert environments == sessions


def test_every_stack_has_an_environment(tox: configparser.ConfigParser) -> None:
    used = {name for section in tox.values() for name in re.findall(r"stack-\S+", section.get("dependency_groups", ""))}
    assert used == STACKS


def test_history_takes_the_stack_it_is_named_for(tox: configparser.ConfigParser, sessions: list[str]) -> None:
    section = next(tox[name] for name in tox if name.startswith("testenv:history"))
    by_factor = dict(line.split(": ") for line in section["dependency_groups"].strip().splitlines())
    for session in (name for name in sessions if name.startswith("history-")):
        stack = session.replace("history-", "stack-")
        assert stack in STACKS
        assert [by_factor[factor] for factor in session.split("-") if factor in by_factor] == [stack]


@pytest.mark.parametrize("stack", sorted(STACKS - {"stack-newest"}))
def test_a_stack_is_named_for_its_releases(stack: str) -> None:
    pins = dict(requirement.split("==") for requirement in GROUPS[stack])
    assert stack == f"stack-peft-{pins['peft']}-transformers-{pins['transformers']}"


def test_every_stack_has_the_same_torch() -> None:
    assert len({pin for stack in STACKS for pin in GROUPS[stack] if pin.startswith("torch")}) == 1


def test_pre_commit_uses_the_linters_of_the_lint_group() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert set(re.findall(r"additional_dependencies: \[(\S+)\]", text)) == set(GROUPS["lint"])


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
