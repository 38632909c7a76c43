"""An index that holds what a test says, a uv that knows it, and processes that judge miniatures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).parent / "fake_uv.py"
RELEASES: dict[str, Any] = {
    "peft": {release: {} for release in ("0.9.0", "0.12.0", "0.13.0", "0.13.2", "0.14.0", "0.15.0rc1")},
    "transformers": {release: {} for release in ("4.45.0", "4.45.1", "4.45.2", "4.46.0", "5.0.0rc1")},
    "helper": {"1.0": {}},
}


class Index:
    """What the index holds; changed by assigning to ``packages`` and calling ``write``."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "index.json"
        self.packages: dict[str, Any] = json.loads(json.dumps(RELEASES))
        self.write()

    def write(self, **more: int) -> None:
        """Let the next call of uv see it. ``down``: and fail so many times first."""
        self.file.write_text(json.dumps({**self.packages, **more}))
        self.file.with_suffix(".calls").unlink(missing_ok=True)

    def change(self, package: str, release: str, **about: object) -> None:
        """Say something else about one release."""
        self.packages.setdefault(package, {})[release] = about
        self.write()

    @property
    def calls(self) -> list[str]:
        """What uv was asked to do since the index was written."""
        log = self.file.with_suffix(".calls")
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """The index, and a uv for it on the PATH of this process and its children, which judge miniatures."""
    tools = tmp_path / "tools"
    tools.mkdir()
    # -I: not even miniatures on its path
    (tools / "uv").write_text(
        f"#!{sys.executable} -I\nimport runpy\nrunpy.run_path({str(FAKE)!r}, run_name='__main__')\n"
    )
    (tools / "uv").chmod(0o755)
    made = Index(tmp_path)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_INDEX", str(made.file))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests" / "miniature"), str(ROOT)]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return made


Call = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Call ``peft-conformance`` in a process, which knows the miniatures; exit code and both outputs."""
    import subprocess

    def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-c", "from conformance.cli import main; main()", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout, done.stderr

    return run
