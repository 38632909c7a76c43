from __future__ import annotations

import msgspec
import pytest
from msgspec import Struct

from conformance.core.case import Case, Prefix
from conformance.core.finding import Cell, Difference, Finding, Item, Verdict, encode
from conformance.core.outcome import Blame, How, Outcome, State

DIFFERENCE = Difference(what="the logits differ", got="1", expected="2", row=0, step=3, margin=1.5, error=1e-4)
FINDING = Finding(
    clause="a.b",
    statement="It holds.",
    family="llama",
    case=Case(family="llama", prefix=Prefix(length=2)),
    features=("one_row",),
    how=How.WRONG,
    difference=DIFFERENCE,
    blame=Blame.PEFT,
    versions={"peft": "1"},
    sources=("huggingface/peft#2134",),
    where="peft/x.py:1 f",
    note="known: x",
)
VERDICT = Verdict(
    outcome=Outcome.VIOLATES,
    counts={"violates": 1, "conforms": 2},
    known={"x": 1},
    reasons={"There is only one row": 3},
    finding=FINDING,
    evidence=(FINDING,),
    decisive=2,
    cpu_seconds=0.5,
)
CELL = Cell.judged(Item("a.b", "llama"), VERDICT)


@pytest.mark.parametrize(
    "record", [DIFFERENCE, FINDING, VERDICT, CELL, Cell.of(Item("a.b", "x"), State.ABSENT, "no class")]
)
def test_a_record_comes_back_from_its_json(record: Struct) -> None:
    text = encode(record)
    assert "\n" not in text
    again = msgspec.json.decode(text, type=type(record))
    assert again == record
    assert encode(again) == text


def test_the_order_of_precedence_is_the_order_of_the_outcomes() -> None:
    assert [outcome.value for outcome in Outcome] == [
        "broken harness",
        "violates",
        "conforms",
        "refused",
        "undecided",
        "not applicable",
    ]


def test_a_cell_is_named_as_pytest_names_it() -> None:
    assert str(CELL.item) == "a.b[llama]"


def test_a_finding_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        FINDING.note = "other"  # type: ignore[misc]
