"""A copy of the repository in which act plays a workflow, with stubs for the actions and for all that is heavy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"
COPIED = (".github", "conformance", "models", "pyproject.toml", "README.md", "LICENSE")


@dataclass
class Played:
    """What one run of a workflow left behind in its folder."""

    folder: Path
    lines: list[dict[str, Any]]
    code: int

    def artifact(self, name: str) -> Path:
        """The folder that was uploaded as ``name``."""
        return self.folder / "store" / name

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of every call of ``name``, in order."""
        lines = (self.folder / "calls.jsonl").read_text("utf-8").splitlines()
        return [call[1:] for call in map(json.loads, lines) if call[0] == name]

    def runs(self) -> list[list[str]]:
        """The arguments of every `peft-conformance run`."""
        return [call[1:] for call in self.calls("peft-conformance") if call[0] == "run"]

    def summary(self, job: str) -> str:
        """All that ``job`` wrote to its summary."""
        return "".join(
            line["content"] for line in self.lines if line.get("command") == "summary" and job in line["job"]
        )


@dataclass
class Stage:
    """A copy of the repository in which workflows are played, one after the other, with caches that last."""

    folder: Path
    plays: int = 0

    @property
    def repository(self) -> Path:
        """The copy."""
        return self.folder / "repository"

    @property
    def cache(self) -> Path:
        """A folder per key."""
        return self.folder / "cache"

    def plan(self, *stacks: str) -> None:
        """Let nox list only these stacks."""
        noxfile = self.repository / "noxfile.py"
        text, all_four = noxfile.read_text("utf-8"), '("fine", "red", "cut", "lost")'
        assert all_four in text
        noxfile.write_text(text.replace(all_four, repr(stacks)), "utf-8")

    def settle(self) -> None:
        """Let no stack be current."""
        noxfile = self.repository / "noxfile.py"
        text = noxfile.read_text("utf-8")
        assert '["current"]' in text
        noxfile.write_text(text.replace('["current"]', "[]"), "utf-8")

    def issue(self, state: str) -> None:
        """Let there be an issue."""
        (self.folder / "issue.json").write_text(json.dumps({"number": 12, "state": state}))

    def forgive(self) -> None:
        """No called workflow fails. act, unlike GitHub, ends a workflow as soon as one that it calls has failed."""
        called = self.repository / ".github" / "workflows" / "conformance.yml"
        text = called.read_text("utf-8")
        for step in ("Install", "Judge"):
            assert f"- name: {step}\n" in text
            text = text.replace(f"- name: {step}\n", f"- name: {step}\n        continue-on-error: true\n")
        called.write_text(text, "utf-8")

    def play(self, workflow: str, event: str, *options: str, run: int = 1, **environment: str) -> Played:
        """Play ``workflow`` for ``event``, as the run of that number."""
        self.plays += 1
        folder = self.folder / f"play-{self.plays}"
        (folder / "store").mkdir(parents=True)
        (folder / "calls.jsonl").touch()
        given = {"SANDBOX": str(self.folder), "PLAY": str(folder), "GITHUB_RUN_NUMBER": str(run), **environment}
        given["GITHUB_RUN_ID"] = str(1000 + run)
        done = subprocess.run(
            ["act", event, "--json", "-W", f".github/workflows/{workflow}", *self._options(given), *options],
            cwd=self.repository,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stdout, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Played(folder, lines, done.returncode)

    def _options(self, given: dict[str, str]) -> list[str]:
        actions = [(pin, HERE / "actions" / pin.partition("@")[0].partition("/")[2]) for pin in pins()]
        return [
            *("-P", "ubuntu-latest=-self-hosted", "--action-cache-path", str(self.folder / "act"), "--no-cache-server"),
            *(f"--local-repository={pin}={stub}" for pin, stub in actions),
            *(f"--env={name}={value}" for name, value in given.items()),
        ]

    def _environment(self) -> dict[str, str]:
        """Ours, with the fakes first, and without what the machine of a real workflow has set."""
        real = ("GITHUB_", "ACTIONS_", "RUNNER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(real)}
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "PYTHONPATH": str(self.repository)}


def pins() -> set[str]:
    """Every action that the workflows use, without a folder inside it: ``actions/cache@SHA``."""
    text = "".join(path.read_text("utf-8") for path in WORKFLOWS.glob("*.yml"))
    return {f"{action}@{sha}" for action, sha in re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*@(\w+)", text)}


def _fakes(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir()
    for name in names:
        file = folder / name
        said = '"$@"' if name == "fake" else f'{name} "$@"'
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "fakes.py"}" {said}\n', "utf-8")
        file.chmod(0o755)


def _repository(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    shutil.copy(HERE / "stacks.py", folder / "noxfile.py")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "played"]):
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


def built(folder: Path) -> Stage:
    """A stage in ``folder``, which is empty."""
    (folder / "repository").mkdir()
    _repository(folder / "repository")
    _fakes(folder / "bin", ("fake", "uv", "python", "python3", "gh", "peft-conformance"))
    return Stage(folder)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage of one's own."""
    return built(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage for several tests."""
    return built(tmp_path_factory.mktemp("stage"))
