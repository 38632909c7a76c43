"""What counts as detected: a violation that is absent without the fault, of a fault that took effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conformance.worker.isolated import ANSWER_FILE, Generate, loader
from safetensors.torch import load_file

from conformance.clauses import select
from conformance.core.case import Case, Prefix, Roles
from conformance.core.errors import UserError
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget
from conformance.faults import Fault, Fired, detections, faults, maker_named
from conformance.faults import detection as detect
from conformance.faults import detections as rows
from conformance.runs.lab import Lab
from conformance.runs.subject import MAKERS, Subject

QUICK = Budget(shrink=False)
CASE = Case(
    family="llama", roles=Roles(head_dim=4, width=4, activation="silu", rope="default"), prefix=Prefix(length=2)
)


def harmless(*, fires: bool = True) -> Fault:
    """A fault of PEFT that changes nothing, named by a clause that PEFT violates anyhow."""

    @contextmanager
    def planted(fired: Fired) -> Iterator[type[Subject]]:
        if fires:
            fired()
        yield MAKERS["peft"]

    return Fault(
        id="harmless",
        statement="Nothing is wrong.",
        clause="equivalence.forward_agrees_with_generate",
        family="llama",
        maker="peft",
        planted=planted,
    )


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "known_failures", lambda maker: ())


@pytest.mark.usefixtures("nothing_known")
def test_what_fails_without_the_fault_does_not_count() -> None:
    fault = harmless()
    clause, before = detect.named_clause(fault), detect.failing_before(detect.named_clause(fault), fault, QUICK)
    assert before
    with detect.in_force(fault) as planted:
        assert detect.detected(detect.search_with_fault(clause, planted, QUICK), planted)
        assert not detect.detected(detect.search_with_fault(clause, planted, QUICK, before), planted)


def test_known_failures_do_not_count() -> None:
    fault = harmless()
    with detect.in_force(fault) as planted:
        verdict = detect.search_with_fault(detect.named_clause(fault), planted, QUICK)
    assert verdict.known
    assert not detect.detected(verdict, planted)


@pytest.mark.usefixtures("nothing_known")
def test_a_violation_while_the_fault_never_fired_does_not_count() -> None:
    with detect.in_force(harmless(fires=False)) as planted:
        verdict = detect.search_with_fault(detect.named_clause(planted.fault), planted, QUICK)
    assert verdict.outcome is Outcome.VIOLATES
    assert not detect.detected(verdict, planted)


@pytest.fixture
def few_clauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chapter and the clause that names the harmless fault: the whole table is the command's business."""
    monkeypatch.setattr(rows, "clauses", lambda: select(["positions", "equivalence.*_tokens", "equivalence.forward_*"]))


@pytest.mark.usefixtures("few_clauses")
def test_the_table_names_all_finders_and_counts_examples() -> None:
    (row,) = detections(["forward_hides_one"], seeds=2)
    assert row.clauses == ("equivalence.forward_agrees_with_generate",)
    assert (row.examples_median, row.examples_worst) == (1, 1)
    assert row.fired
    assert row.cpu_seconds > 0


@pytest.mark.usefixtures("few_clauses")
def test_the_table_says_that_a_fault_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "faults", lambda: {"harmless": harmless()})
    (row,) = rows.detections(seeds=1)
    assert row.clauses == ()
    assert (row.examples_median, row.examples_worst) == (None, None)


def test_an_unknown_fault_is_the_callers_mistake() -> None:
    with pytest.raises(UserError, match="no fault 'gradient_cuts'"):
        list(detections(["gradient_cuts"]))
    with pytest.raises(UserError, match="no fault 'gone'"), maker_named("reference+gone"):
        pass


def afresh(maker: str, folder: Path) -> list[float]:
    answer = loader().ask(Generate(maker=maker, case=CASE, folder=str(folder)))
    assert not answer.error
    return [round(float(x), 4) for x in load_file(folder / ANSWER_FILE)["logits"].flatten()]


@pytest.mark.parametrize("id", ["keys_and_values_swapped", "peft_keys_and_values_swapped"])
def test_a_fault_is_in_force_in_a_fresh_process_too(id: str, tmp_path: Path) -> None:
    maker = faults()[id].maker
    Lab(maker).new_subject(CASE).save(tmp_path)
    assert afresh(maker, tmp_path) != afresh(f"{maker}+{id}", tmp_path)
    with detect.in_force(faults()[id]) as planted:
        here = planted.lab.generate(CASE)
    assert afresh(f"{maker}+{id}", tmp_path) == [round(float(x), 4) for x in here.logits.flatten()]
