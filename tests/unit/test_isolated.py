from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from conformance.assertions.saving import saved_adapter
from conformance.worker.isolated import ANSWER_FILE, Answer, Child, ChildDied, Generate, Judge
from msgspec.structs import replace
from safetensors.torch import load_file

from conformance.clauses import clauses
from conformance.core.case import Case, Prefix, Row
from conformance.core.finding import Cell
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget, judge
from conformance.families import family_named
from conformance.runs.lab import Lab

NOISE = """
import sys
print("a line that is no answer", flush=True)
print("{}", file=sys.__stdout__, flush=True)
"""
ITEM = Judge(clause="injection.faithful", family="llama", budget=Budget(examples=1))


def without_time(cell: Cell | None) -> Cell:
    assert cell is not None
    assert cell.verdict is not None
    return replace(cell, verdict=replace(cell.verdict, cpu_seconds=0.0))


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """One child for all tests, which says things on its standard output before it is asked anything."""
    noisy = tmp_path_factory.mktemp("noisy")
    noisy.joinpath("sitecustomize.py").write_text(NOISE, "utf-8")
    made = Child({"PYTHONPATH": os.pathsep.join([str(noisy), str(Path(__file__).parent.parent.parent)])})
    yield made
    made.close()


def test_an_item_is_judged_as_in_this_process(child: Child) -> None:
    here = judge(clauses()[ITEM.clause], family_named(ITEM.family), Budget(examples=1), (), Lab())
    answer = child.ask(ITEM)
    assert answer.error == ""
    assert without_time(answer.cell) == without_time(here)
    assert here.verdict is not None
    assert here.verdict.outcome is Outcome.CONFORMS


def test_a_fresh_process_loads_and_generates(child: Child) -> None:
    case, lab = Case(family="llama", prefix=Prefix(length=2), rows=(Row(length=3),)), Lab("reference")
    with saved_adapter(lab.subject(case)) as folder:
        assert child.ask(Generate(maker="reference", case=case, folder=str(folder))) == Answer()
        found = load_file(folder / ANSWER_FILE)
    expected = lab.generate(case)
    assert torch.equal(found["tokens"], expected.tokens)
    assert torch.equal(found["logits"], expected.logits)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (replace(ITEM, family="lama"), "UserError: unknown-family"),
        (replace(ITEM, clause="a.b"), "KeyError: 'a.b'"),
        (Generate(maker="reference+no_such_fault", case=Case(family="llama"), folder="."), "UserError: unknown-fault"),
    ],
)
def test_what_goes_wrong_is_answered_in_words_and_the_child_lives_on(
    child: Child, request_: Judge | Generate, said: str
) -> None:
    assert child.ask(request_).error.startswith(said)
    assert child.ask(request_).cell is None
    assert child.ask(request_).ours


def test_an_exception_of_what_is_judged_is_not_ours(child: Child, tmp_path: Path) -> None:
    answer = child.ask(Generate(maker="peft", case=Case(family="llama"), folder=str(tmp_path)))
    assert answer.error
    assert not answer.ours


def fake(folder: Path, body: str) -> Child:
    """A child whose Python does ``body`` in place of serving."""
    folder.joinpath("sitecustomize.py").write_text(f"import os, sys\n{body}\n", "utf-8")
    return Child({"PYTHONPATH": str(folder)})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.stdin.readline(); os._exit(7)", "exit code 7"),
        (f"sys.stdin.readline(); os.kill(os.getpid(), {int(signal.SIGKILL)})", "exit code -9"),
        (
            "sys.stdin.readline(); os.write(int(os.environ['CONFORMANCE_ANSWERS']), b'half an ans'); os._exit(0)",
            "not an answer",
        ),
    ],
)
def test_a_child_that_dies_is_told_from_one_that_answers(tmp_path: Path, body: str, said: str) -> None:
    dying = fake(tmp_path, body)
    with pytest.raises(ChildDied, match=said):
        dying.ask(ITEM)
    dying.close()


def test_a_dead_child_stays_dead(tmp_path: Path) -> None:
    dying = fake(tmp_path, "sys.stdin.readline(); os._exit(7)")
    for _ in range(2):
        with pytest.raises(ChildDied):
            dying.ask(ITEM)
    dying.close()


def test_requests_are_one_line_each() -> None:
    assert b"\n" not in msgspec.json.encode(ITEM)
