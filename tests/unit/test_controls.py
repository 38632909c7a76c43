"""Who is believed about the base model: a process that PEFT has been at work in, or one that it never was in."""

from __future__ import annotations

import sys

import pytest
from msgspec import Struct

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.finding import Difference
from conformance.core.outcome import Blame, Outcome
from conformance.core.signals import RunFailed, Violation
from conformance.engine import testimony, witness
from conformance.engine.base_model import control_named
from conformance.engine.controls import confirm, controlled, run
from conformance.engine.witness import Question
from conformance.worker.child import WorkerError

CASE = Case(family="llama")


class Lab:
    """A lab whose base model fails while ``spoilt``, and repeats itself unless it is ``noisy``."""

    mended: tuple[str, ...] = ()

    def __init__(self, spoilt: bool = False, noisy: bool = False) -> None:
        self.spoilt, self.noisy = spoilt, noisy

    def fresh(self) -> Lab:
        return self

    def generate(self, case: Case) -> None:
        if self.spoilt:
            raise RunFailed("generate", TypeError("spoilt"), "transformers/x.py:7 forward", refused=False)

    def repeats_itself(self, case: Case) -> bool:
        return not self.noisy


def wrong(lab: object, case: Case) -> None:
    raise Violation(Difference(what="logits differ", got="1", expected="2"), where="peft/x.py:1 f")


CLAUSE = Clause(id="a.b", statement="It holds.", explanation="", check=wrong, control="runs")


class Asked:
    """A witness that says always the same, and notes what it was asked."""

    def __init__(self, holds: bool | Exception) -> None:
        self.holds, self.questions = holds, list[Question]()

    def call(self, function: str, question: Question, answer: type[bool]) -> bool:
        self.questions.append(question)
        if isinstance(self.holds, Exception):
            raise self.holds
        return self.holds


@pytest.fixture(autouse=True)
def _no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "_witness", [])
    monkeypatch.setattr(witness, "_answers", {})


def outcome(lab: Lab) -> tuple[Outcome, str]:
    example = confirm(CLAUSE, lab, controlled(CLAUSE, lab, run(CLAUSE, lab, CASE)))  # type: ignore[arg-type]
    return example.outcome, example.finding.note if example.finding else example.reason


def call_on(monkeypatch: pytest.MonkeyPatch, holds: bool | Exception) -> Asked:
    asked = Asked(holds)
    monkeypatch.setattr(witness, "_witness", [asked])
    return asked


def test_a_control_that_fails_without_peft_too_excuses(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = call_on(monkeypatch, False)
    assert outcome(Lab(spoilt=True)) == (
        Outcome.NOT_APPLICABLE,
        "the base model alone fails too: generate raised",
    )
    assert [(each.control, each.clause, each.case.prefix.length) for each in asked.questions] == [
        ("control.runs", "a.b", 0)
    ]


def test_a_control_that_fails_only_where_peft_was_at_work_is_pefts_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    call_on(monkeypatch, True)
    found, note = outcome(Lab(spoilt=True))
    assert found is Outcome.VIOLATES
    assert note.startswith("the base model by itself fails only in the process in which PEFT was at work")
    assert "transformers/x.py:7 forward" in note
    example = confirm(CLAUSE, Lab(spoilt=True), controlled(CLAUSE, Lab(spoilt=True), run(CLAUSE, Lab(), CASE)))  # type: ignore[arg-type]
    assert example.finding
    assert example.finding.blame is Blame.PEFT


def test_the_witness_is_asked_once_for_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = call_on(monkeypatch, False)
    for _ in range(3):
        outcome(Lab(spoilt=True))
    assert len(asked.questions) == 1


def test_a_witness_that_is_lost_excuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    call_on(monkeypatch, WorkerError("it ended"))
    with pytest.raises(WorkerError):
        outcome(Lab(spoilt=True))


def test_a_base_model_that_does_not_keep_its_bits_holds_nobody_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = call_on(monkeypatch, False)
    assert outcome(Lab(noisy=True)) == (
        Outcome.UNDECIDED,
        "the base model, run twice, does not keep its bits: nobody can be held to them",
    )
    assert asked.questions[0].control == "control.keeps_bits"


def test_noise_that_peft_brings_into_the_base_model_is_pefts_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    call_on(monkeypatch, True)
    assert outcome(Lab(noisy=True))[0] is Outcome.VIOLATES


def test_a_witness_that_has_met_peft_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty(Struct):
        """A module that is no module."""

    monkeypatch.setattr(testimony, "run_clause", lambda *_: run(CLAUSE, Lab(), CASE))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "peft", Empty())
    with pytest.raises(RuntimeError, match="the witness has imported PEFT"):
        testimony.testify(Question(control="control.runs", clause="injection.faithful", case=CASE))


def test_controls_have_names_by_which_another_process_finds_them() -> None:
    for name in ("control.runs", "control.goes_on", "control.keeps_bits"):
        assert control_named(name, "injection.faithful").id == name
    assert control_named("injection.faithful", "injection.faithful").id == "injection.faithful"
