from __future__ import annotations

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from conformance.core.case import Case, Prefix
from conformance.core.finding import Cell, Difference, Finding, Item, Verdict, encode
from conformance.core.outcome import (
    BROKEN,
    CONFORMS,
    FAMILY_WORDS,
    INCOMPLETE,
    KNOWN,
    NO_DECISION_WORDS,
    NOT_RUN,
    PAIR_WORDS,
    TABLE,
    USEFUL,
    VIOLATES,
    WORDS,
    Blame,
    How,
    Outcome,
    State,
    summarised,
)

pytestmark = pytest.mark.light

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


def test_the_table_has_every_word_once() -> None:
    words = [outcome.value for outcome in Outcome] + [state.value for state in State if state is not State.JUDGED]
    texts = [row.text for row in TABLE.values()]
    assert sorted(texts) == sorted([*words, KNOWN, INCOMPLETE])
    assert texts == list(TABLE)
    assert set(WORDS) | {INCOMPLETE} == set(FAMILY_WORDS) == set(PAIR_WORDS) == set(USEFUL) == set(TABLE)
    assert all(len(words) == len(set(words)) for words in (WORDS, FAMILY_WORDS, PAIR_WORDS, USEFUL))


def test_every_word_has_a_letter_of_its_own_a_meaning_and_a_class() -> None:
    rows = TABLE.values()
    assert all(len(row.letter) == 1 and not row.letter.isspace() for row in rows)
    assert len({row.letter for row in rows}) == len(rows)
    assert all(row.meaning and row.short and row.css for row in rows)


def test_the_words_follow_the_order_of_the_outcomes_and_of_the_exit_codes() -> None:
    outcomes = [outcome.value for outcome in Outcome]
    assert [word for word in WORDS if word in outcomes] == outcomes
    assert [TABLE[word].code for word in (BROKEN, VIOLATES, KNOWN, CONFORMS)] == [3, 1, 0, 0]
    assert all(TABLE[word].code is None for word in NO_DECISION_WORDS)
    assert {word for word in WORDS if TABLE[word].pytest == "error"} == {BROKEN}
    assert {word for word in WORDS if TABLE[word].pytest == "failed"} == {VIOLATES}
    assert {word for word in WORDS if TABLE[word].pytest == "passed"} == {CONFORMS}


@pytest.mark.parametrize(
    ("words", "finished", "expected"),
    [
        ([], True, NOT_RUN),
        ([], False, INCOMPLETE),
        ([CONFORMS, NOT_RUN], True, INCOMPLETE),
        ([NOT_RUN], True, NOT_RUN),
        ([CONFORMS, KNOWN], True, KNOWN),
        ([CONFORMS, VIOLATES], False, INCOMPLETE),
        ([BROKEN, VIOLATES], False, BROKEN),
    ],
)
def test_many_results_have_the_gravest_word_and_no_better_one_than_incomplete(
    words: list[str], finished: bool, expected: str
) -> None:
    assert summarised(words, finished=finished) == expected


def test_a_violation_in_an_unfinished_run_is_the_word_of_its_family() -> None:
    assert summarised([CONFORMS, VIOLATES], finished=False, order=FAMILY_WORDS) == VIOLATES
    assert summarised([CONFORMS, KNOWN], finished=False, order=FAMILY_WORDS) == INCOMPLETE


def test_a_cell_is_named_as_pytest_names_it() -> None:
    assert str(CELL.item) == "a.b[llama]"
    assert str(Item("a.b", "llama", "P_TUNING")) == "a.b[llama/P_TUNING]"
    assert (CELL.item.subject, Item("a.b", "llama", "P_TUNING").subject) == ("llama", "llama/P_TUNING")


def test_a_violation_has_one_key_in_all_families_and_releases() -> None:
    assert replace(FINDING, family="gpt2", where="peft/x.py:99 f").key == FINDING.key
    assert replace(FINDING, clause="a.c").key != FINDING.key
    crash = replace(FINDING, how=How.CRASH, difference=replace(DIFFERENCE, got="KeyError: 1"))
    assert crash.key != FINDING.key
    assert replace(crash, clause="a.c", difference=replace(DIFFERENCE, got="KeyError: 2")).key == crash.key
    for other in ({"where": "peft/x.py:1 g"}, {"difference": replace(DIFFERENCE, got="ValueError: 1")}):
        assert replace(crash, **other).key != crash.key


def test_a_finding_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        FINDING.note = "other"  # type: ignore[misc]
