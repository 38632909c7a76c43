"""Where a worker judges: one lab at a time, and no exception that escapes."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.outcome import Outcome
from conformance.engine import search as engine
from conformance.families import family_named
from conformance.session import held
from conformance.session import judge as bench

CLAUSE = Clause(id="a.b", statement="It holds.", explanation="", check=lambda lab, case: None)


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
    monkeypatch.setattr(held, "_held", {})
    monkeypatch.setattr(Lab, "made", 0)


def test_the_lab_is_kept_for_a_family_and_dropped_with_it() -> None:
    first = held.lab_for("llama")
    assert held.lab_for("llama") is first
    held.lab_for("gpt2")
    assert list(held._held) == ["gpt2"]
    held.lab_for("llama")
    assert Lab.made == 3


def test_an_engine_that_raises_breaks_the_item(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(*_: object) -> None:
        raise RuntimeError("out of paper")

    monkeypatch.setattr(engine, "judge", judge)
    cell = bench.judge(CLAUSE, family_named("llama"), engine.Budget(), ())
    assert cell.verdict is not None
    assert cell.verdict.outcome is Outcome.BROKEN
    assert "RuntimeError: out of paper" in next(iter(cell.verdict.reasons))


def test_a_replay_that_raises_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.core.outcome import How
    from conformance.engine.known import KnownFailure

    def run_once(*_: object, **__: object) -> None:
        raise RuntimeError("out of paper")

    monkeypatch.setattr(bench, "run_once", run_once)
    entry = KnownFailure(
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
    told = bench.replay(entry, CLAUSE, family_named("llama"))
    assert told.state == "broken harness"
    assert "RuntimeError: out of paper" in told.why
