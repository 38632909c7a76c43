"""The command, as a process with the miniatures in the place of clauses and lab, or called in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Call = Callable[..., "tuple[int, str, str]"]
START = "from conformance.cli import main; main()"

KNOWN = (ROOT / "tests" / "miniature" / "known.toml").read_text("utf-8")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``peft-conformance`` in an empty folder and give what it printed. ``env`` adds to its environment."""
    (tmp_path / "known.toml").write_text(KNOWN, "utf-8")
    mended = KNOWN.replace("equal-lengths", "long-gone").replace("miniature.wrong", "miniature.holds")
    (tmp_path / "mended.toml").write_text(mended, "utf-8")

    def run(*arguments: str, miniatures: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        path = [str(ROOT / "tests" / "miniature")] * miniatures + [str(ROOT)]
        return subprocess.run(
            [sys.executable, "-c", START, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "COLUMNS": "100"} | env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Call ``peft-conformance`` in this process; exit code, standard output, standard error."""
    from conformance.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
