"""The kill curve counts what was found in time, and a fault that was not found is never a fast one."""

from __future__ import annotations

import pytest

from conformance.session import kill_curve
from conformance.session.kill_curve import Kill, found_within, lines

ROWS = [Kill(fault="a", item="x[llama]", seconds=4.0), Kill(fault="b", item="y[t5]", seconds=12.5), Kill(fault="c")]


def test_it_counts_what_is_found_within_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_curve, "import_seconds", lambda: 3.0)
    assert [found_within(ROWS, seconds) for seconds in (1.0, 4.0, 30.0)] == [0, 1, 2]
    assert lines(ROWS, (4.0, 30.0)) == [
        "within 4 CPU s: 1 of 3 planted faults",
        "within 30 CPU s: 2 of 3 planted faults",
        "median 12.5 s, slowest not found; the imports take 3.0 s of each",
    ]


def test_what_most_runs_would_miss_has_no_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_curve, "import_seconds", lambda: 3.0)
    assert lines([*ROWS[:1], *ROWS[2:] * 2], (30.0,))[-1].startswith("median not found, slowest not found")


def test_items_come_as_in_a_run_whose_time_is_short() -> None:
    items = kill_curve.all_items()
    placed = [item.clause.startswith("placement.") for item in items]
    assert placed == sorted(placed)
    assert items[0].clause == "equivalence.step_logits"
