"""``peft-conformance soak``: what it plans, prints and writes; what it does with a Case is in tests/soak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.finding import Item
from conformance.soak import spread
from conformance.soak.spread import Plan, Progress
from conformance.soak.tally import Alarm, Count, Tally, read
from conformance.soak.work import Work

Call = Callable[..., "tuple[int, str, str]"]
ITEM = Item("masks.row_order", "llama")
CASE = Case(family="llama", seed=3)
ALARM = Alarm(subject="reference", item=ITEM, seed=7, word="violates", what="the logits differ", case=CASE)
STEP = Tally(counts=(Count(subject="reference", item=ITEM, words={"conforms": 9}),), cpu_seconds=2.0)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans of soaks that end after one step; those from seed 7 on with an alarm."""
    asked: list[Plan] = []

    def soak(plan: Plan, progress: Progress) -> Tally:
        asked.append(plan)
        step = replace(STEP, alarms=(ALARM,)) if plan.seed == 7 else STEP
        work = Work(subject="reference", family="llama", clauses=(ITEM.clause,), seed=plan.seed)
        progress(work, step, step)
        return replace(step, complete=True)

    monkeypatch.setattr(spread, "soak", soak)
    return asked


def test_everything_is_soaked_by_default(call: Call, plans: list[Plan]) -> None:
    code, out, _ = call("soak")
    (plan,) = plans
    assert code == 0
    assert (len(plan.families) > 1, len(plan.clauses) > 1, plan.examples, plan.seed, plan.least) == (
        True,
        True,
        1,
        0,
        1,
    )
    assert "seed 0 reference llama: 9 judged, 0.00% undecided, 0 alarms, 2 s; in all 9 of 1" in out
    assert "9 examples of healthy subjects judged, 0 alarms, 0.00% undecided" in out


def test_what_is_asked_for_is_planned(call: Call, plans: list[Plan]) -> None:
    options = "--families gpt2 --clauses masks --profile standard --seed 5 --least 90 --workers 2 --subjects reference"
    call("soak", *options.split())
    (plan,) = plans
    assert (plan.families, {clause.chapter for clause in plan.clauses}) == (("gpt2",), {"masks"})
    assert (plan.examples, plan.seed, plan.least, plan.workers, plan.case) == (4, 5, 90, 2, None)


def test_an_alarm_exits_1_and_prints_the_line_that_repeats_it(call: Call, plans: list[Plan], tmp_path: Path) -> None:
    code, out, _ = call("soak", "--seed", "7", "--report", str(tmp_path / "soak.json"))
    assert code == 1
    assert f"  masks.row_order[llama] violates: the logits differ\n  repeat    {ALARM.repeat}\n" in out
    assert read(tmp_path / "soak.json") == replace(STEP, alarms=(ALARM,), complete=True)


def test_the_line_that_repeats_it_means_the_same_case(call: Call, plans: list[Plan]) -> None:
    call("soak", "--clauses", "masks.row_order", "--case", CASE.to_json())
    (plan,) = plans
    assert (plan.case, plan.families, plan.methods) == (CASE, ("llama",), ("PREFIX_TUNING",))


@pytest.mark.parametrize(
    "arguments", [("--subjects", "peft"), ("--families", "lama"), ("--case", "{}"), ("--least", "0"), ("--seed", "x")]
)
def test_wrong_use_exits_2(call: Call, arguments: tuple[str, ...]) -> None:
    assert call("soak", *arguments)[0] == 2
