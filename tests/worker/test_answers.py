"""Child processes: what they answer, and that nothing which happens in one costs more than its answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from msgspec import Struct
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Row
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Item
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget, judge
from conformance.runs.fresh_process import LoadAndGenerate, load_and_generate
from conformance.runs.lab import Lab
from conformance.session.judge import JudgeItem
from conformance.worker import child as children
from conformance.worker.child import Child, WorkerError
from conformance.worker.fork import Fork

ROOT = Path(__file__).parents[2]
ITEM = JudgeItem(item=Item("injection.faithful", "llama"), budget=Budget(examples=1))
JUDGE = "conformance.session.judge:judge_here"


class Number(Struct, frozen=True):
    value: int


class Text(Struct, frozen=True):
    value: str


TWO = Number(2)


def without_time(cell: Cell) -> Cell:
    assert cell.verdict is not None
    return replace(cell, verdict=replace(cell.verdict, cpu_seconds=0.0))


def test_a_function_is_given_a_record_and_answers_with_another(child: Child) -> None:
    assert child.call("functions:double", TWO, int) == 4


def test_an_item_is_judged_as_in_this_process(child: Child) -> None:
    here = judge(ITEM.item, ITEM.budget, (), Lab())
    assert without_time(child.call(JUDGE, ITEM, Cell)) == without_time(here)
    assert here.verdict is not None
    assert here.verdict.outcome is Outcome.CONFORMS


def test_a_fresh_process_loads_and_generates(kept: dict[str, str]) -> None:
    case, lab = Case(family="llama", prefix=Prefix(length=2), rows=(Row(length=3),)), Lab("reference")
    with lab.saved(lab.subject(case)) as saved:
        found = lab.generate_in_fresh_process(case, saved)
    expected = lab.generate(case)
    assert len(children._kept) == 1
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.logits, expected.logits)


def test_what_is_printed_is_no_answer(child: Child) -> None:
    assert child.call("functions:noise", TWO, int) == 2


def test_what_goes_wrong_is_answered_in_words_and_the_child_lives_on(child: Child) -> None:
    process = child.call("functions:process", TWO, int)
    with pytest.raises(
        WorkerError, match=r"functions.py\", line \d+, in breaks\n(.|\n)*\nZeroDivisionError: a bug of ours$"
    ):
        child.call("functions:breaks", TWO, int)
    with pytest.raises(WorkerError, match=r"\nModuleNotFoundError: No module named 'nowhere'$"):
        child.call("nowhere:function", TWO, int)
    with pytest.raises(WorkerError, match=r"\nmsgspec.ValidationError: Expected `int`, got `str`"):
        child.call("functions:double", Text("2"), int)
    assert child.call("functions:process", TWO, int) == process


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(ITEM, item=Item("injection.faithful", "lama")), "unknown-family"),
        (replace(ITEM, item=Item("a.b", "llama")), "unknown-clause"),
    ],
)
def test_a_mistake_of_the_user_stays_one(child: Child, request_: JudgeItem, code: str) -> None:
    with pytest.raises(UserError) as mistake:
        child.call(JUDGE, request_, Cell)
    assert mistake.value.code == code
    with pytest.raises(UserError) as whole:
        child.call("functions:misuse", TWO, int)
    assert str(whole.value) == "bad-number: 2 is none\n  cause: a cause\n  cure:  a cure"


def test_an_exception_of_what_is_judged_is_an_answer_and_not_ours(child: Child, tmp_path: Path) -> None:
    maker = Lab("peft").maker
    case = Case(family="llama")
    request = LoadAndGenerate(maker=maker.maker, found_by=maker.found_by, case=case, folder=str(tmp_path))
    here = load_and_generate(request)
    assert here
    assert child.call("conformance.runs.fresh_process:load_and_generate", request, str) == here


@pytest.mark.skipif(sys.platform != "linux", reason="only there it is forked")
def test_a_fork_knows_what_its_parent_knew_and_costs_no_imports() -> None:
    FORKED.append(1)
    with Fork() as made:
        FORKED.append(2)
        assert made.call(f"{__name__}:what_the_fork_knows", TWO, list[int]) == [1]
        with pytest.raises(WorkerError, match="ZeroDivisionError"):
            made.call(f"{__name__}:breaks", TWO, int)
        assert made.call(f"{__name__}:what_the_fork_knows", TWO, list[int]) == [1]
    assert made.ended


FORKED: list[int] = []


def what_the_fork_knows(number: Number) -> list[int]:
    return FORKED


def breaks(number: Number) -> int:
    return number.value // 0
