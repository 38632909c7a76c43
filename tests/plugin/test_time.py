"""A requested time: what is left is not run and never passed; what failed before, and what is sharp, comes first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.core.errors import UserError
from conformance.session.reader import read_events
from conformance.session.time_budget import DEADLINE, capped, seconds

Consumer = Callable[..., pytest.RunResult]
BOTH = ("--conformance-families", "llama", "--conformance-clauses", "miniature.holds,miniature.wrong")


def names(result: pytest.RunResult) -> list[str]:
    return [line.strip("<>").split()[-1] for line in result.outlines if "Item miniature" in line]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_is_left_when_the_time_is_spent_is_not_run(consumer: Consumer, tmp_path: Path, workers: str) -> None:
    events = tmp_path / "events.jsonl"
    result = consumer(*BOTH, "--conformance-time", "0.001s", "--conformance-report", str(events), "-n", workers)
    result.assert_outcomes(skipped=2)
    run = read_events(events)
    assert [cell.word for cell in run.cells] == ["not run", "not run"]
    assert {cell.why for cell in run.cells} == {"the requested time was spent"}
    assert run.footer is not None
    assert run.footer.exit_code == 5


def test_with_time_enough_everything_is_run(consumer: Consumer) -> None:
    consumer(*BOTH, "--conformance-time", "1h").assert_outcomes(passed=1, failed=1)


def test_what_failed_before_comes_first(consumer: Consumer, tmp_path: Path) -> None:
    report = ("--conformance-report", str(tmp_path / "events.jsonl"))
    consumer(*BOTH, *report).assert_outcomes(passed=1, failed=1)
    hurried = consumer(*BOTH, *report, "--conformance-time", "1h", "--collect-only")
    assert names(hurried) == ["miniature.wrong[llama]", "miniature.holds[llama]"]


def test_what_failed_as_it_is_known_to_does_not_come_first(consumer: Consumer, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "miniature" / "known.toml").read_text("utf-8")
    (tmp_path / "all.toml").write_text(text.replace('features = ["n_equals_prompt"]', ""), "utf-8")
    known = ("--conformance-known", str(tmp_path / "all.toml"), "--conformance-report", str(tmp_path / "events.jsonl"))
    consumer(*BOTH, *known).assert_outcomes(passed=1, xfailed=2)
    hurried = consumer(*BOTH, *known, "--conformance-time", "1h", "--collect-only")
    assert names(hurried) == ["miniature.holds[llama]", "miniature.wrong[llama]"]


@pytest.mark.parametrize(("left", "expected"), [(None, 500.0), (1000.0, 500.0), (100.0, 130.0), (-100.0, 30.0)])
def test_one_item_takes_little_more_than_what_is_left(
    monkeypatch: pytest.MonkeyPatch, left: float | None, expected: float
) -> None:
    monkeypatch.delenv(DEADLINE, raising=False)
    if left is not None:
        monkeypatch.setitem(os.environ, DEADLINE, str(time.time() + left))
    assert capped(500.0, grace=30.0) == pytest.approx(expected, abs=1)


def test_without_a_limit_the_order_is_that_of_the_catalogue(consumer: Consumer, tmp_path: Path) -> None:
    report = ("--conformance-report", str(tmp_path / "events.jsonl"))
    consumer(*BOTH, *report)
    assert names(consumer(*BOTH, *report, "--collect-only")) == ["miniature.holds[llama]", "miniature.wrong[llama]"]


def test_sharp_clauses_of_all_families_come_before_the_rest(consumer: Consumer) -> None:
    chosen = ("--conformance-families", "llama,gpt2", "--conformance-clauses", "miniature.holds,miniature.sharp")
    found = names(consumer(*chosen, "--conformance-time", "1h", "--collect-only"))
    assert found == [f"miniature.{clause}[{family}]" for clause in ("sharp", "holds") for family in ("llama", "gpt2")]


@pytest.mark.parametrize(("given", "expected"), [("60s", 60.0), ("5m", 300.0), ("1.5h", 5400.0), ("90", 90.0)])
def test_a_time_has_a_unit(given: str, expected: float) -> None:
    assert seconds(given) == expected


@pytest.mark.parametrize("given", ["", "soon", "-1s", "0s", "1 h", "1d"])
def test_what_is_no_time_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="bad-time"):
        seconds(given)
