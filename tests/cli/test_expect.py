"""``peft-conformance expect``: what a pair must decide is written down, and later runs are held against it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
RUN = ("run", "--families", "llama", "--clauses", "miniature.holds,miniature.refused", "--known", "none")


@pytest.fixture
def expected(command: Command, tmp_path: Path) -> Path:
    """The file that one run gives."""
    first = command(*RUN, "--report", "events.jsonl")
    assert first.returncode == 5
    assert re.search(r"  miniature\.refused\[llama\]: 0 of \d+ examples decided, at least 60% expected", first.stdout)
    made = command("expect", "events.jsonl", "--out", "expected.json")
    assert (made.returncode, made.stdout.splitlines()[-1].partition(":")[0]) == (0, "expected.json")
    return tmp_path / "expected.json"


def test_what_is_foreseen_is_green(command: Command, expected: Path) -> None:
    again = command(*RUN, "--expect", expected.name)
    assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("seed", ["0", "1"])
def test_what_decides_less_is_as_red_as_a_violation(command: Command, expected: Path, seed: str) -> None:
    expected.write_text(expected.read_text("utf-8").replace('"refused"', '"conforms"'), "utf-8")
    again = command(*RUN, "--expect", expected.name, "--seed", seed)
    assert again.returncode == 5
    assert "Less was tested than expected\n  miniature.refused[llama]: expected conforms, got refused" in again.stdout


def test_a_count_that_moves_is_news(command: Command, expected: Path) -> None:
    assert command("expect", "events.jsonl", "--out", "expected.json", "--check").returncode == 0
    expected.write_text(re.sub(r'"conforms":\d+', '"conforms":3', expected.read_text("utf-8"), count=1), "utf-8")
    checked = command("expect", "events.jsonl", "--out", "expected.json", "--check")
    assert checked.returncode == 1
    assert 'miniature.holds[llama]:\n  expected  {"counts":{"conforms":3}' in checked.stdout


def test_a_run_that_broke_is_no_measure_of_anything(command: Command, tmp_path: Path) -> None:
    command(
        "run", "--families", "llama", "--clauses", "miniature.broken", "--known", "none", "--report", "events.jsonl"
    )
    made = command("expect", "events.jsonl", "--out", "expected.json")
    assert made.returncode == 2
    assert "no-expectation: miniature.broken[llama] is broken harness" in made.stderr
    assert not (tmp_path / "expected.json").exists()
