"""Whole nights: one stack fine, one red, one whose run is cut, one that cannot be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.report.nights import load_night

if TYPE_CHECKING:
    from tests.workflows.conftest import Played, Stage

LISTED = ["issue", "list", "--label", "nightly", "--state", "all", "--limit", "1", "--json", "number,state"]


def night(stage: Stage, run: int = 7, **environment: str) -> Played:
    stage.forgive()
    return stage.play("nightly.yml", "schedule", run=run, **environment)


def body(played: Played) -> str:
    return (played.artifact("report") / "issue.md").read_text("utf-8")


@pytest.fixture(scope="module")
def first(shared: Stage) -> Played:
    """A first night."""
    return night(shared)


@pytest.fixture(scope="module")
def second(shared: Stage, first: Played) -> Played:
    """The night after, in which another family is wrong."""
    shared.issue("OPEN")
    return shared.play("nightly.yml", "schedule", run=8, VIOLATED="qwen2")


@pytest.fixture(scope="module")
def third(shared: Stage, second: Played) -> Played:
    """One more, with nothing new; but the red stack of the nights before is one of which tonight knows nothing."""
    kept = shared.cache / "nights-1008-1" / "night.json"
    swapped = kept.read_text("utf-8").replace('"red"', '"was"').replace('"lost"', '"red"').replace('"was"', '"lost"')
    kept.write_text(swapped)
    return shared.play("nightly.yml", "schedule", run=9, VIOLATED="")


def test_the_summary_tells_of_every_planned_stack(first: Played) -> None:
    assert first.code == 0, "the failures of runs are forgiven here"
    summary = first.summary("report")
    assert "Nightly conformance: 3 of 4 stacks red" in summary
    assert "with no night before to compare with" in summary
    for line in (
        "| fine | peft 0.21.2 x transformers 4.45.1 | \N{LARGE GREEN CIRCLE} nothing is violated | 0 |",
        "| red | peft 0.13.2 x transformers 4.45.1 | \N{LARGE RED CIRCLE} violation | 1 |",
        "did not finish: it stopped after 2 items, in masks.rows_alone\\[qwen2] | 0 |",
        "| lost |  | \N{LARGE RED CIRCLE} left no events: it could not be installed, or its machine was lost | 0 |",
    ):
        assert line in summary
    assert "Nothing was judged" in first.summary("judge lost")


def test_every_stack_is_run_with_the_seed_of_the_night_and_earlier_examples(first: Played) -> None:
    assert len(first.runs()) == 4
    for run in first.runs():
        assert {"--profile=thorough", "--time=40m", "--seed=7", "--database=local"} <= set(run)


def test_the_soak_draws_with_seeds_of_its_own_and_is_counted_over_nights(first: Played, second: Played) -> None:
    ((_, *given),) = [call for call in first.calls("peft-conformance") if call[0] == "soak"]
    assert {"--seed", "700", "--least", "100000"} <= set(given)
    assert "9 examples tonight, 0.00 % undecided, 0 alarms; 9 examples in all nights" in body(first)
    assert "9 examples tonight, 0.00 % undecided, 0 alarms; 18 examples in all nights" in body(second)


def test_the_page_covers_all_that_left_events(first: Played) -> None:
    (merged,) = [call for call in first.calls("peft-conformance") if call[-2:] == ["--out", "report"]]
    assert merged[:-2] == [
        "report",
        "merge",
        *(f"events/events-{name}/{name}.events.jsonl" for name in ("cut", "fine", "red")),
    ]


def test_the_first_red_night_opens_an_issue(first: Played) -> None:
    listed, label, create = first.calls("gh")
    assert listed == LISTED
    assert label[:3] == ["label", "create", "nightly"]
    title = "Nightly conformance: 3 of 4 stacks red"
    assert create == ["issue", "create", "--label", "nightly", "--title", title, "--body-file", "report/issue.md"]
    assert "### New: 1 violation\n\n- `masks.rows_alone[llama]` on red: wrong answer\n" in body(first)
    assert """peft-conformance replay --clause masks.rows_alone '{"family":"llama"}'""" in body(first)
    assert "| fine |" not in body(first)


def test_the_next_night_edits_it_with_what_is_new_and_what_is_gone(second: Played) -> None:
    _, edit, comment = second.calls("gh")
    assert edit[:3] == ["issue", "edit", "12"]
    assert comment[:3] == ["issue", "comment", "12"]
    assert "1 new violation in [run 8]" in comment[-1]
    assert "compared with [run 7](https://github.com/" in body(second)
    assert "### New: 1 violation\n\n- `masks.rows_alone[qwen2]` on red: wrong answer" in body(second)
    assert "### Gone: 1 violation\n\n- `masks.rows_alone[llama]` on red: now conforms" in body(second)


def test_the_examples_of_a_red_run_are_there_in_the_next_night(shared: Stage, second: Played) -> None:
    assert (shared.cache / "conformance-examples-red-1008-1" / "cases").read_text("utf-8") == "red\nred\n"


def test_a_violation_in_a_stack_that_is_lost_is_not_gone_and_is_remembered(shared: Stage, third: Played) -> None:
    assert "### Not judged tonight: 1 violation\n\n- `masks.rows_alone[qwen2]` on lost: not reached" in body(third)
    assert "Gone" not in body(third)
    kept = load_night(shared.cache / "nights-1009-1" / "night.json")
    assert kept
    assert {stack.name: list(stack.open) for stack in kept.stacks}["lost"] == ["masks.rows_alone[qwen2]"]


def test_a_night_with_nothing_new_notifies_nobody(third: Played) -> None:
    assert [call[:2] for call in third.calls("gh")] == [["issue", "list"], ["issue", "edit"]]


def test_a_green_night_closes_it(stage: Stage) -> None:
    stage.plan("fine")
    stage.issue("OPEN")
    _, close = night(stage, run=9).calls("gh")
    assert close[:3] == ["issue", "close", "12"]
    assert close[-1].startswith("All stacks conform since run 9: https://github.com/")


def test_a_green_night_without_an_issue_does_nothing(stage: Stage) -> None:
    stage.plan("fine")
    assert night(stage).calls("gh") == [LISTED]


def test_a_red_night_reopens_it(stage: Stage) -> None:
    stage.plan("red", "fine")
    stage.issue("CLOSED")
    assert [call[:3] for call in night(stage).calls("gh")[1:3]] == [["issue", "edit", "12"], ["issue", "reopen", "12"]]


def test_what_settled_releases_violate_fails_nothing_and_is_told_once(stage: Stage) -> None:
    stage.plan("red", "fine")
    stage.settle()
    first = stage.play("nightly.yml", "schedule", run=7)
    assert first.code == 0, "nobody can mend what is released"
    assert "### New: 1 violation\n\n- `masks.rows_alone[llama]` on red: wrong answer\n" in body(first)
    assert [call[1] for call in first.calls("gh")] == ["list", "create", "create"]
    stage.issue("OPEN")
    second = stage.play("nightly.yml", "schedule", run=8)
    close = second.calls("gh")[-1]
    assert close[:3] == ["issue", "close", "12"]
    assert close[-1].startswith("All current stacks conform, and settled ones show nothing new, since run 8: ")
    assert "| red | peft 0.13.2 x transformers 4.45.1 | \N{MEDIUM WHITE CIRCLE} violation | 1 |" in second.summary(
        "report"
    )


def test_a_run_by_day_touches_neither_the_issue_nor_the_memory(stage: Stage) -> None:
    stage.plan("red", "fine")
    stage.forgive()
    played = stage.play("nightly.yml", "workflow_dispatch", "--input=time=5m", "--input=profile=quick")
    assert played.calls("gh") == []
    assert not list(stage.cache.glob("nights-*"))
    assert "1 of 2 stacks red" in played.summary("report")
    assert all({"--time=5m", "--profile=quick"} <= set(run) for run in played.runs())


def test_without_a_plan_nothing_is_run(stage: Stage) -> None:
    stage.plan()
    played = stage.play("nightly.yml", "schedule")
    assert played.code != 0
    assert played.runs() == []
