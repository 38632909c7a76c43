"""Where a worker judges: one lab at a time, and no exception that escapes."""

from __future__ import annotations

import sys
import time
from types import ModuleType

import pytest

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.finding import Item
from conformance.core.outcome import How, Outcome
from conformance.engine import search as engine
from conformance.engine import witness
from conformance.engine.known import KnownFailure
from conformance.session import judge, time_budget
from conformance.worker.child import SECONDS, ChildLost, NoAnswer, WorkerError

CLAUSE = Clause(id="a.b", statement="It holds.", explanation="", check=lambda lab, case: None)
ITEM = Item(CLAUSE.id, "llama")
ENTRY = KnownFailure(
    id="x",
    clauses=("a.b",),
    families=("llama",),
    how=How.CRASH,
    peft=">=0",
    transformers=">=0",
    function="f",
    reason="r",
    clause="a.b",
    case=Case(family="llama"),
)


class Lab:
    """Counts how many are made."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1


@pytest.fixture(autouse=True)
def _fake_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("conformance.runs.lab")
    module.Lab = Lab  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "conformance.runs.lab", module)
    monkeypatch.setattr(judge, "_current", {})
    monkeypatch.setattr(witness, "start", lambda: None)
    monkeypatch.setattr(judge, "clause_named", {CLAUSE.id: CLAUSE}.__getitem__)
    monkeypatch.setattr(Lab, "made", 0)


def test_the_lab_is_kept_for_a_family_and_dropped_with_it() -> None:
    first = judge.current_lab("llama")
    assert judge.current_lab("llama") is first
    judge.current_lab("gpt2")
    assert list(judge._current) == ["gpt2"]
    judge.current_lab("llama")
    assert Lab.made == 3


def test_a_replay_whose_child_is_lost_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise ChildLost("no answer in 900 s")

    monkeypatch.setattr(judge, "run_case", lost)
    told = judge.replay_known(ENTRY, (ENTRY,))
    assert (told.state, told.why) == ("broken harness", "no answer in 900 s")


def test_an_engine_that_raises_breaks_the_item(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object) -> None:
        raise WorkerError("RuntimeError: out of paper")

    monkeypatch.setattr(judge, "call_kept", raises)
    cell = judge.judge_item(ITEM, engine.Budget(), ())
    assert cell.verdict is not None
    assert cell.verdict.outcome is Outcome.BROKEN
    assert "RuntimeError: out of paper" in next(iter(cell.verdict.reasons))


def late(seen: list[float]) -> object:
    def call(*given: object) -> None:
        seen.append(float(str(given[-1])))
        raise NoAnswer("no answer")

    return call


def test_what_hangs_beyond_the_requested_time_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(judge, "call_kept", late(limits))
    monkeypatch.setenv(time_budget.DEADLINE, str(time.time() - 1))
    cell = judge.judge_item(ITEM, engine.Budget(), ())
    assert (cell.word, cell.why) == ("not run", "the requested time was spent before it was judged to its end")
    assert judge.replay_known(ENTRY, (ENTRY,)).state == "not run"
    assert limits == [judge.GRACE, judge.GRACE]


def test_what_hangs_beyond_its_own_limit_breaks_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(judge, "call_kept", late(limits))
    assert judge.judge_item(ITEM, engine.Budget(examples=3), ()).word == "broken harness"
    assert judge.replay_known(ENTRY, (ENTRY,)).state == "broken harness"
    assert limits == [SECONDS + 3 * judge.SECONDS_PER_EXAMPLE, SECONDS]


def test_a_replay_that_raises_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object, **__: object) -> None:
        raise RuntimeError("out of paper")

    monkeypatch.setattr(judge, "run_case", raises)
    replayed = judge.replay_known(ENTRY, (ENTRY,))
    assert replayed.state == "broken harness"
    assert "RuntimeError: out of paper" in replayed.why
