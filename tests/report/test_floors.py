"""How little may be decided: floors, and what is expected of a pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.clauses.registry import Clause, Floor
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Difference, Finding, Item, Verdict
from conformance.core.outcome import Blame, How, Outcome, State
from conformance.core.pair import Pair
from conformance.session.events import Footer, Header, Run
from conformance.session.expectation import Expectation, below_expected, read_expectation
from conformance.session.floors import below_floors

pytestmark = pytest.mark.light

PAIR = Pair("0.21.2", "5.23.0")


def clause(floor: Floor = Floor()) -> dict[str, Clause]:  # noqa: B008 - it is frozen
    return {"a.b": Clause(id="a.b", statement="", explanation="", check=lambda lab, case: None, floor=floor)}


def cell(outcome: Outcome, family: str = "llama", base_fails: int = 0, lane: str = "", **counts: int) -> Cell:
    named = {name.replace("_", " "): number for name, number in counts.items()} or {outcome.value: 24}
    verdict = Verdict(outcome=outcome, counts=named, base_fails=base_fails, reasons={"why": 1})
    return Cell.judged(Item("a.b", family), verdict, lane=lane)


FOUND = Finding(
    clause="a.b",
    statement="",
    family="llama",
    case=Case(family="llama"),
    features=(),
    how=How.WRONG,
    difference=Difference(what="", got="", expected=""),
    blame=Blame.PEFT,
    versions={},
)
GOOD = cell(Outcome.CONFORMS)


def test_what_conforms_everywhere_is_above_every_floor() -> None:
    assert below_floors([GOOD, cell(Outcome.CONFORMS, "gpt2")], clause()) == []


def test_a_family_in_which_nothing_was_decided_is_named() -> None:
    for outcome in (Outcome.REFUSED, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE):
        assert "nothing was decided in the family gpt2" in below_floors([GOOD, cell(outcome, "gpt2")], clause())
    absent = Cell.of(Item("a.b", "gpt2"), State.ABSENT, "no such class")
    assert below_floors([GOOD, absent], clause()) == ["nothing was decided in the family gpt2"]


def test_so_are_a_method_and_a_lane() -> None:
    method = replace(cell(Outcome.REFUSED), method="P_TUNING")
    assert "nothing was decided in the method P_TUNING" in below_floors([GOOD, method], clause())
    lane = cell(Outcome.NOT_APPLICABLE, lane="offload: cpu")
    assert below_floors([GOOD, lane], clause()) == ["nothing was decided in the lane offload: cpu"]


def test_where_nothing_at_all_was_decided_that_is_said_once() -> None:
    cells = [cell(Outcome.REFUSED), cell(Outcome.UNDECIDED, "gpt2")]
    assert below_floors(cells, clause()) == ["nothing at all was decided"]


def test_examples_that_lack_what_the_claim_needs_are_no_lack_of_decisions() -> None:
    assert below_floors([cell(Outcome.CONFORMS, conforms=5, not_applicable=19)], clause()) == []


@pytest.mark.parametrize(
    "less",
    [
        cell(Outcome.CONFORMS, conforms=10, refused=14),
        cell(Outcome.CONFORMS, conforms=10, undecided=14),
        cell(Outcome.CONFORMS, base_fails=14, conforms=10, not_applicable=14),
    ],
)
def test_a_share_below_what_the_clause_states_is_said_with_the_reasons(less: Cell) -> None:
    assert below_floors([less], clause()) == ["a.b[llama]: 10 of 24 examples decided, at least 60% expected (why)"]
    assert below_floors([less], clause(Floor(share=0.4))) == []


def test_of_few_examples_as_many_as_conforms_needs_are_enough() -> None:
    assert below_floors([cell(Outcome.CONFORMS, base_fails=6, conforms=5, not_applicable=6)], clause()) == []
    assert len(below_floors([cell(Outcome.CONFORMS, base_fails=7, conforms=5, not_applicable=7)], clause())) == 1
    assert len(below_floors([cell(Outcome.CONFORMS, conforms=4, undecided=5)], clause())) == 1


def test_where_whole_families_may_refuse_a_refusal_is_not_counted_and_all_else_is() -> None:
    lenient = clause(Floor(may_refuse=True))
    assert below_floors([cell(Outcome.CONFORMS, conforms=10, refused=14)], lenient) == []
    assert len(below_floors([cell(Outcome.CONFORMS, conforms=10, undecided=14)], lenient)) == 1


def test_a_violation_ends_a_search_whatever_was_decided() -> None:
    ended = replace(
        GOOD, verdict=Verdict(outcome=Outcome.VIOLATES, counts={"violates": 1, "undecided": 5}, finding=FOUND)
    )
    assert below_floors([ended], clause()) == []


# -- what is expected of a pair ---------------------------------------------------------------------------------------
def run(*cells: Cell, finished: bool = True) -> Run:
    header = Header(
        versions={"peft": PAIR.peft, "transformers": PAIR.transformers},
        python="",
        platform="",
        profile="quick",
        examples=3,
        seed=0,
        families=(),
        clauses=(),
        methods=(),
    )
    return Run(header=header, cells=cells, footer=Footer(exit_code=0, counts={}, seconds=1.0) if finished else None)


def short(expected: Cell, got: Cell, same_budget: bool = True) -> list[str]:
    return list(below_expected([got], Expectation.of(run(expected)), same_budget=same_budget))


def test_what_is_as_expected_is_not_short_whatever_its_word() -> None:
    for outcome in (Outcome.CONFORMS, Outcome.REFUSED, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE):
        assert short(cell(outcome), cell(outcome)) == []


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE])
@pytest.mark.parametrize("same_budget", [True, False])
def test_an_item_that_decides_less_is_short_with_any_seed(outcome: Outcome, same_budget: bool) -> None:
    assert short(GOOD, cell(outcome), same_budget) == [f"a.b[llama]: expected conforms, got {outcome.value} (why)"]


def test_a_family_that_is_absent_now_is_short() -> None:
    got = Cell.of(Item("a.b", "llama"), State.ABSENT, "no such class")
    assert short(GOOD, got) == ["a.b[llama]: expected conforms, got absent (no such class)"]
    assert len(short(cell(Outcome.REFUSED), got)) == 1


def test_known_decides_as_much_as_conforms() -> None:
    assert short(GOOD, cell(Outcome.VIOLATES, violates=24)) == []


def test_counts_are_compared_where_the_same_budget_was_spent() -> None:
    fewer = cell(Outcome.CONFORMS, conforms=10, refused=14)
    assert short(GOOD, fewer) == ["a.b[llama]: expected 24 examples with an answer, got 10 (why)"]
    assert short(GOOD, fewer, same_budget=False) == []


def test_which_answers_are_too_close_to_say_depends_on_the_machine() -> None:
    assert short(GOOD, cell(Outcome.CONFORMS, conforms=22, undecided=2)) == []


def test_other_devices_are_another_question() -> None:
    assert short(cell(Outcome.CONFORMS, lane="simulated"), cell(Outcome.NOT_APPLICABLE, lane="offload")) == []


def test_what_is_foreseen_has_no_floor_but_the_last() -> None:
    refused = cell(Outcome.REFUSED, "gpt2")
    expectation = Expectation.of(run(GOOD, refused))
    assert below_floors([GOOD, refused], clause(), foreseen=expectation.speaks_of) == []
    assert below_floors([refused], clause(), foreseen=expectation.speaks_of) == ["nothing at all was decided"]


def test_the_file_has_one_sorted_line_per_item_and_reads_back(tmp_path: Path) -> None:
    expectation = Expectation.of(run(GOOD, cell(Outcome.REFUSED, "gpt2")))
    path = tmp_path / "x.json"
    path.write_text(expectation.text(), "utf-8")
    assert [line.partition(":")[0] for line in expectation.text().splitlines()][-3:] == [
        '"a.b[gpt2]"',
        '"a.b[llama]"',
        "}}",
    ]
    assert read_expectation(path, PAIR) == expectation
    with pytest.raises(UserError, match="wrong-expectation"):
        read_expectation(path, Pair("0.21.2", "5.24.0"))
    path.write_text("{}", "utf-8")
    with pytest.raises(UserError, match="malformed-expectation"):
        read_expectation(path, PAIR)


def test_every_change_of_a_count_is_news() -> None:
    expectation = Expectation.of(run(GOOD))
    assert expectation.changes([GOOD]) == []
    (change,) = expectation.changes([cell(Outcome.CONFORMS, conforms=23, undecided=1)])
    assert change.startswith('a.b[llama]:\n  expected  {"counts":{"conforms":24}')


@pytest.mark.parametrize(
    "bad",
    [
        run(),
        run(GOOD, finished=False),
        run(Cell.broken(Item("a.b", "x"), "")),
        run(Cell.of(Item("a.b", "x"), State.NOT_RUN)),
    ],
)
def test_what_is_not_a_whole_run_says_nothing_of_later_ones(bad: Run) -> None:
    with pytest.raises(UserError, match="no-expectation"):
        Expectation.of(bad)
