"""Whatever fails, at whichever operation: no run says *conforms* that did not judge all, and PEFT is blamed for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.core.errors import UserError
from conformance.session.events import Run
from conformance.session.reader import read_events

pytestmark = [
    pytest.mark.light,
    pytest.mark.skipif(sys.platform != "linux", reason="faults are injected as Linux has them"),
]
HERE = Path(__file__).parent
ERRORS = ("ENOSPC", "EMFILE", "EIO", "ENOMEM", "EPIPE", "memory")
KINDS = {"controller": (*ERRORS, "kill"), "child": (*ERRORS, "exit0", "kill", "stop", "hang")}
"""What can happen to which process. That the controller itself hangs or leaves with 0 is no fault from outside."""
EVERYTHING = "INJECT_EVERYTHING"
"""Environment variable: every kind at every operation, which takes an hour; else the kinds take turns at some of them."""
STRIDE = int(os.environ.get("INJECT_STRIDE", "11"))
"""Every so many operations one fails. No divisor of the number of kinds: else some kinds would never have a turn."""
CLAUSES = {"miniature.holds,miniature.saves": 0, "miniature.saves,miniature.wrong": 1}
"""What is run, and what it comes to where nothing fails."""


class Ran:
    """One run with one fault."""

    def __init__(self, folder: Path, clauses: str, fault: str, counts: Path | None = None) -> None:
        report = folder / "events.jsonl"
        temporary = folder / "temporary"
        temporary.mkdir(exist_ok=True)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]), "TMPDIR": str(temporary)}
        env |= {"INJECT": fault} | ({"INJECT_COUNTS": str(counts)} if counts else {})
        env.pop("CONFORMANCE_SCRATCH", None)
        options = ("--families", "llama", "--clauses", clauses, "--known", "none", "--workers", "0", "--examples", "1")
        self.done = subprocess.run(
            [sys.executable, "-m", "conformance", "run", *options, "--report", str(report)],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.code = self.done.returncode
        self.events = _events(report)

    @property
    def words(self) -> list[str]:
        """One word for each item that is in the events."""
        return sorted(cell.word for cell in self.events.cells) if self.events else []


def _events(report: Path) -> Run | None:
    try:
        return read_events(report)
    except UserError:
        return None


def operations(folder: Path, clauses: str) -> dict[str, int]:
    """How many operations each process makes when nothing fails."""
    clean = Ran(folder, clauses, "none:none:0", counts=folder)
    assert clean.code == CLAUSES[clauses], clean.done.stderr
    return {role: int((folder / role).read_text("utf-8")) for role in KINDS}


def faults(folder: Path, clauses: str, role: str) -> list[str]:
    """Every fault that is tried: ``kind:role:number``."""
    count, kinds = operations(folder, clauses)[role], KINDS[role]
    assert count > 10
    if os.environ.get(EVERYTHING):
        return [f"{kind}:{role}:{number}" for number in range(1, count + 1) for kind in kinds]
    return [f"{kinds[number % len(kinds)]}:{role}:{number}" for number in range(1, count + 1, STRIDE)]


@pytest.mark.parametrize("role", KINDS)
@pytest.mark.parametrize("clauses", CLAUSES)
def test_a_run_that_anything_happened_to_is_honest(tmp_path: Path, clauses: str, role: str) -> None:
    told = [
        complaint for fault in faults(tmp_path, clauses, role) for complaint in complaints(tmp_path, clauses, fault)
    ]
    assert not told, "\n".join(told)


def complaints(folder: Path, clauses: str, fault: str) -> list[str]:
    """What is dishonest about a run with that fault."""
    ran = Ran(folder, clauses, fault)
    complete = ["conforms", "conforms"] if CLAUSES[clauses] == 0 else ["conforms", "violates"]
    footer = ran.events.footer if ran.events else None
    wrongs = {
        "a false zero": ran.code == 0 and (CLAUSES[clauses] != 0 or ran.words != complete or not footer),
        "a false footer": bool(footer and footer.exit_code == 0 and ran.words != complete),
        "blamed on PEFT": "violates" in ran.words and CLAUSES[clauses] == 0,
        "an exit code of another meaning": ran.code not in (CLAUSES[clauses], 2, 3, -9, 137),
        "a violation that was found is not told": ran.words == complete and ran.code == 0 and CLAUSES[clauses] == 1,
    }
    said = (ran.done.stdout + ran.done.stderr)[-300:]
    return [f"{fault}: {what} (exit {ran.code}, {ran.words}): {said}" for what, holds in wrongs.items() if holds]
