"""The chapter placement in every lane: it runs, the report says where, and what these devices cannot show is never green."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.core.outcome import Outcome
from conformance.session.reader import read_events

Command = Callable[..., "subprocess.CompletedProcess[str]"]
PLACED = ("run", "--families", "llama", "--clauses", "placement", "--report", "events.jsonl")
FEW = {
    "split": "not applicable",
    "spelling": "known",
    "cache_follows_layer": "known",
    "offloaded": "known",
    "automatic": "known",
    "trains": "known",
}
"""With the CPU alone: a second device is what `split` is about."""
LABELLED = {**FEW, "split": "known", "automatic": "not applicable"}


@pytest.mark.parametrize(
    ("lane", "devices", "said", "expected"),
    [
        ("labelled", (), "labelled devices cpu:0, cpu:1, cpu:2", LABELLED),
        ("offload", (), "offload devices cpu", FEW),
        ("", ("--devices", "cpu"), "real devices cpu", FEW),
    ],
)
def test_the_chapter_runs_and_the_report_says_where(
    command: Command, tmp_path: Path, lane: str, devices: tuple[str, ...], said: str, expected: dict[str, str]
) -> None:
    done = command(*PLACED, *devices, miniatures=False, CONFORMANCE_LANE=lane)
    cells = read_events(tmp_path / "events.jsonl").cells
    assert {cell.clause.partition(".")[2]: cell.word for cell in cells} == expected, done.stdout
    assert {cell.lane for cell in cells} == {said}
    assert f"placement: on {said}" in done.stdout
    assert not [cell for cell in cells if cell.verdict and cell.verdict.outcome is Outcome.BROKEN]
    assert done.returncode == 0, done.stdout


def test_a_violation_on_named_devices_is_repeated_on_them(command: Command) -> None:
    chosen = ("--families", "llama", "--clauses", "placement.trains", "--known", "none")
    done = command("run", *chosen, "--devices", "cpu", miniatures=False)
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("repeat"))
    assert line.endswith(" --devices cpu")
    assert done.returncode == 1


def test_a_known_failure_that_these_devices_cannot_show_is_not_mended(command: Command) -> None:
    done = command("known", "check", "--devices", "cpu", miniatures=False)
    assert "map-without-a-device: still fails" in done.stdout
    assert re.search(r"map-keys-of-other-layers: undecided, .*everything is in one place", done.stdout)
    assert done.returncode == 0, done.stdout
