"""What a night found, and how two of them differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.finding import Finding
from conformance.report.issue import issue_text, issue_title
from conformance.report.nights import (
    Changes,
    Night,
    NightlyViolation,
    Stack,
    after,
    keep_night,
    load_night,
    read_stack,
)
from conformance.session.events import Footer, Judged, Run, Started
from conformance.session.writer import Writer

pytestmark = pytest.mark.light

Nights = Callable[..., Night]
Stacks = Callable[..., Stack]


def names(changes: Changes) -> dict[str, list[str]]:
    kinds = ("new", "still", "gone", "unjudged")
    found = {kind: [f"{item.name}@{item.stack}" for item in getattr(changes, kind)] for kind in kinds}
    return {kind: items for kind, items in found.items() if items}


def write(path: Path, run: Run, *, footer: bool) -> None:
    writer = Writer(path)
    writer.write(run.header)
    for cell in run.cells:
        writer.write(Started(item=str(cell.item)))
        writer.write(Judged(cell=cell))
    for replay in run.known:
        writer.write(replay)
    if not footer:
        writer.write(Started(item="masks.rows_alone[bloom]"))
    if footer and run.footer:
        writer.write(run.footer)
    writer.close()


def test_a_stack_is_read_from_wherever_its_events_lie(tmp_path: Path, run: Run, finding: Finding) -> None:
    (tmp_path / "events-one").mkdir()
    write(tmp_path / "events-one" / "one.events.jsonl", run, footer=True)
    stack = read_stack("one", tmp_path)
    assert (stack.pair, stack.code, stack.red) == ("peft 0.21.2 x transformers 5.23.0", 3, True)
    assert list(stack.violations) == ["equivalence.step_logits[llama]", "equivalence.step_logits[qwen2]"]
    assert stack.words["masks.rows_alone[llama]"] == "known"
    violation = stack.violations["equivalence.step_logits[llama]"]
    assert violation.repeat.startswith("peft-conformance replay --clause")
    assert violation.keys == (finding.key,)


def test_a_run_that_was_cut_says_where(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "one.events.jsonl", run, footer=False)
    stack = read_stack("one", tmp_path)
    assert stack.red
    assert stack.result == "did not finish: it stopped after 9 items, in masks.rows_alone[bloom]"


def test_no_events_are_no_success(tmp_path: Path) -> None:
    stack = read_stack("one", tmp_path)
    assert stack.red
    assert stack.result.startswith("left no events")


def test_an_empty_file_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "one.events.jsonl").touch()
    assert "cannot be read" in read_stack("one", tmp_path).result


@pytest.mark.parametrize("code", [1, 3, 4, 5])
def test_every_exit_code_but_0_is_red(code: int, judged: Stacks) -> None:
    assert judged("one", code).red
    assert not judged("one", 0).red


def test_a_night_whose_time_was_spent_is_partial_and_not_red(judged: Stacks) -> None:
    spent = replace(judged("one", 5, a="conforms", b="not run"), partial=True)
    assert not spent.red
    assert spent.result == "partial: 1 of 2 items were not run"


def test_a_night_in_which_too_little_was_decided_is_red_and_says_where(judged: Stacks) -> None:
    short = replace(
        judged("one", 5, a="conforms", b="not run"), partial=True, short=("nothing was decided in the family x",)
    )
    assert short.red
    assert short.result == (
        "less was tested than expected; nothing was decided in the family x; 1 of 2 items were not run"
    )
    assert not replace(short, settled=True).red


def test_a_night_without_stacks_is_red(night: Nights) -> None:
    assert night().red


def test_without_a_night_before_everything_is_new(night: Nights, judged: Stacks) -> None:
    _, changes = after(None, night(judged("one", 1, violated="a")))
    assert names(changes) == {"new": ["a@one"]}


def test_new_still_and_gone_are_told_apart_by_item_and_stack(night: Nights, judged: Stacks) -> None:
    before = night(judged("one", 1, violated="a b"), judged("two", 1, violated="c"))
    tonight = night(judged("one", 1, violated="b c", a="conforms"), judged("two", 0, c="known"))
    _, changes = after(before, tonight)
    assert names(changes) == {"new": ["c@one"], "still": ["b@one"], "gone": ["a@one", "c@two"]}
    assert [item.word for item in changes.gone] == ["conforms", "known"]


@pytest.mark.parametrize("word", ["broken harness", "not run", None])
def test_only_what_was_judged_can_be_repaired_and_the_rest_is_remembered(
    word: str | None, night: Nights, judged: Stacks
) -> None:
    before = night(judged("one", 1, violated="a"))
    kept, changes = after(before, night(judged("one", 3, a=word) if word else judged("one", 3)))
    assert names(changes) == {"unjudged": ["a@one"]}
    for later, expected in ((judged("one", a="conforms"), "gone"), (judged("one"), "unjudged")):
        _, next_night = after(kept, night(later))
        assert names(next_night) == {expected: ["a@one"]}
    _, again = after(kept, night(judged("one", 1, violated="a")))
    assert names(again) == {"still": ["a@one"]}


def violated(*keys: str, code: int = 1) -> Stack:
    """A stack in which one item has the violation of the first key, and those of the others were seen before."""
    violation = NightlyViolation(
        how="wrong answer", repeat="peft-conformance replay it", keys=tuple((k,) for k in keys)
    )
    return Stack(name="one", code=code, words={"a": "violates"}, violations={"a": violation})


def test_another_violation_of_the_same_item_is_new(night: Nights) -> None:
    first, changes = after(None, night(violated("one bug")))
    assert names(changes) == {"new": ["a@one"]}
    assert "earlier nights" not in issue_text(first, changes, None)
    second, changes = after(first, night(violated("another bug")))
    assert names(changes) == {"new": ["a@one"]}
    assert "- `a` on one: wrong answer, not the violation of earlier nights\n" in issue_text(second, changes, first)


def test_of_two_violations_of_one_item_neither_is_new_twice(night: Nights) -> None:
    before, _ = after(None, night(violated("one bug")))
    for bug, expected in (("another bug", "new"), ("one bug", "still"), ("another bug", "still")):
        before, changes = after(before, night(violated(bug)))
        assert names(changes) == {expected: ["a@one"]}


def test_a_night_without_a_word_forgets_neither_violation(night: Nights) -> None:
    before, _ = after(None, night(violated("one bug")))
    before, _ = after(before, night(violated("another bug")))
    before, changes = after(before, night(Stack(name="one", code=3)))
    assert names(changes) == {"unjudged": ["a@one"]}
    _, changes = after(before, night(violated("one bug")))
    assert names(changes) == {"still": ["a@one"]}


def test_another_violation_is_told_in_settled_releases_too(night: Nights) -> None:
    before = None
    for bug, red in (("one bug", True), ("another bug", True), ("one bug", False)):
        before, _ = after(before, night(replace(violated(bug), settled=True)))
        assert before.red == red


def test_a_night_that_was_kept_before_there_were_keys_is_read(tmp_path: Path, night: Nights) -> None:
    """Which violation it was is not known, so what its items show is not new."""
    old = """{"run":"1","link":"https://example.org/1","stacks":[{"name":"one","settled":false,"new":1,"pair":"","code":1,
    "why":"","words":{"a":"violates","b":"not run"},"violations":{"a":{"how":"wrong answer","repeat":"r"}},
    "open":{"b":{"how":"crash","repeat":"r"}}}]}"""
    (tmp_path / "night.json").write_text(old, "utf-8")
    before = load_night(tmp_path / "night.json")
    assert before
    kept, changes = after(before, night(violated("one bug")))
    assert names(changes) == {"still": ["a@one"], "unjudged": ["b@one"]}
    _, changes = after(kept, night(violated("another bug")))
    assert names(changes) == {"new": ["a@one"], "unjudged": ["b@one"]}


def test_what_settled_releases_violate_is_told_once(night: Nights, judged: Stacks) -> None:
    def settled(code: int | None, violated: str = "", **words: str) -> Stack:
        return replace(judged("old", code, violated=violated, **words), settled=True)

    first, changes = after(None, night(settled(1, "a b")))
    assert first.red
    assert names(changes) == {"new": ["a@old", "b@old"]}
    second, changes = after(first, night(settled(1, "b", a="conforms")))
    assert not second.red
    assert names(changes) == {}
    third, changes = after(second, night(settled(1, "a c")))
    assert third.red
    assert names(changes) == {"new": ["c@old"]}


@pytest.mark.parametrize("code", [None, 2, 3, 4])
def test_of_settled_releases_too_a_run_must_finish_and_be_sound(code: int | None, judged: Stacks) -> None:
    assert replace(judged("old", code), settled=True).red


def test_a_stack_that_was_judged_in_part_is_not_shown_in_green(night: Nights, judged: Stacks) -> None:
    part = night(judged("one", a="conforms", b="not run"))
    assert not part.red
    said = "All stacks conform as far as they were judged (1 item not run)"
    assert issue_title(part) == f"{said} since run 1: https://example.org/1"
    table = issue_text(part, Changes(), None, everything=True)
    assert "| one |  | \N{MEDIUM WHITE CIRCLE} nothing is violated; 1 of 2 items were not run | 0 |" in table


def test_a_stack_that_is_no_longer_planned_is_forgotten(night: Nights, judged: Stacks) -> None:
    _, changes = after(night(judged("one", 1, violated="a")), night(judged("two")))
    assert names(changes) == {}


def test_a_night_is_kept_for_the_next(tmp_path: Path, night: Nights, judged: Stacks) -> None:
    kept = night(judged("one", 1, violated="a"))
    keep_night(kept, tmp_path / "nights" / "night.json")
    assert load_night(tmp_path / "nights" / "night.json") == kept


@pytest.mark.parametrize("text", [None, "", "[]", '{"run": 1}'])
def test_what_is_no_night_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "night.json").write_text(text)
    assert load_night(tmp_path / "night.json") is None


def test_a_finished_run_with_nothing_graver_is_green(tmp_path: Path, run: Run) -> None:
    footer = Footer(exit_code=0, counts={"conforms": 1}, seconds=1.0)
    green = Run(header=replace(run.header, items=(str(run.cells[1].item),)), cells=run.cells[1:2], footer=footer)
    write(tmp_path / "one.events.jsonl", green, footer=True)
    assert not read_stack("one", tmp_path).red


def test_a_footer_that_its_own_results_contradict_is_red_whatever_it_says(tmp_path: Path, run: Run) -> None:
    footer = Footer(exit_code=0, counts={"conforms": 9}, seconds=1.0)
    write(tmp_path / "one.events.jsonl", replace(run, footer=footer), footer=True)
    stack = read_stack("one", tmp_path)
    assert stack.red
    assert "the footer counts" in stack.result
