"""Words and exit codes."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.core.finding import Cell, Item, Verdict
from conformance.core.outcome import Outcome, State
from conformance.session.events import Replay, Replayed
from conformance.session.exit_codes import MEANING, counts, exit_code

pytestmark = pytest.mark.light

ITEM = Item("a.b", "llama")


def cell(outcome: Outcome, **rest: object) -> Cell:
    return Cell.judged(ITEM, Verdict(outcome=outcome, **rest))  # type: ignore[arg-type]


def replay(state: Replay) -> Replayed:
    return Replayed(id="x", clause="a.b", family="llama", state=state)


CELLS = [
    *(cell(outcome) for outcome in Outcome),
    Cell.of(ITEM, State.NOT_RUN, "why"),
    Cell.broken(ITEM, "why"),
]


@pytest.mark.parametrize(
    ("cells", "known", "complete", "code"),
    [
        ([], [], True, 5),
        ([cell(Outcome.REFUSED), cell(Outcome.NOT_APPLICABLE), cell(Outcome.UNDECIDED)], [], True, 5),
        ([cell(Outcome.CONFORMS)], [], True, 0),
        ([cell(Outcome.CONFORMS)], [], False, 3),
        ([cell(Outcome.VIOLATES, known={"x": 3})], [replay("still fails")], True, 0),
        ([cell(Outcome.CONFORMS)], [replay("mended")], True, 4),
        ([cell(Outcome.CONFORMS), Cell.broken(ITEM, "it broke")], [replay("mended")], True, 3),
        ([cell(Outcome.CONFORMS)], [replay("broken harness")], True, 3),
        ([cell(Outcome.CONFORMS), Cell.of(ITEM, State.NOT_RUN, "time")], [], True, 5),
        ([cell(Outcome.CONFORMS)], [replay("not run")], True, 5),
        ([Cell.of(ITEM, State.NOT_RUN, "time")], [replay("mended")], True, 4),
    ],
)
def test_exit_codes(cells: list[Cell], known: list[Replayed], complete: bool, code: int) -> None:
    assert exit_code(cells, known, complete=complete) == code


@settings(derandomize=True, database=None, deadline=None)
@given(
    cells=st.lists(st.sampled_from(CELLS)),
    known=st.lists(st.sampled_from(get_args(Replay)).map(replay)),
    complete=st.booleans(),
)
def test_nothing_broken_or_missing_is_ever_green_or_red(
    cells: list[Cell], known: list[Replayed], complete: bool
) -> None:
    code = exit_code(cells, known, complete=complete)
    broke = any(one.word == "broken harness" for one in cells) or any(one.state == "broken harness" for one in known)
    assert (code == 3) == (broke or not complete)
    assert code in MEANING


@given(cells=st.lists(st.sampled_from(CELLS)))
@settings(derandomize=True, database=None, deadline=None)
def test_every_cell_is_counted_once(cells: list[Cell]) -> None:
    assert sum(counts(cells).values()) == len(cells)


def test_a_violation_without_a_finding_is_known() -> None:
    assert cell(Outcome.VIOLATES, known={"x": 1}).word == "known"


def test_reasons_are_few_and_the_most_frequent_come_first() -> None:
    many = cell(Outcome.REFUSED, reasons={"one": 1, "two": 2, "three": 3, "four": 4, "five": 5})
    assert many.reasons == "five; four; three; and 2 other reasons"
    assert many.description == "refused: five; four; three; and 2 other reasons"


def test_a_reason_that_says_the_word_does_not_say_it_twice() -> None:
    assert cell(Outcome.REFUSED, reasons={"refused: no": 1}).description == "refused: no"
