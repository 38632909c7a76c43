"""What counts as detected: a violation that is absent without the fault, of a fault that took effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file

from conformance.clauses import Clause, select
from conformance.core.case import Case, Prefix, Roles
from conformance.core.errors import UserError
from conformance.core.finding import DEFAULT_METHOD, Verdict
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget
from conformance.faults import Fault, Fired, detection, detections, faults, planted_maker, registry, table
from conformance.faults.registry import FOUND_BY
from conformance.runs.fresh_process import ANSWER, LoadAndGenerate, load_and_generate
from conformance.runs.lab import Lab
from conformance.runs.makers import MAKERS
from conformance.runs.subject import Subject
from conformance.worker.child import call_kept

QUICK = Budget(shrink=False)
CASE = Case(
    family="llama", roles=Roles(head_dim=4, width=4, activation="silu", rope="default"), prefix=Prefix(length=2)
)


def harmless(*, fires: bool = True, method: str = DEFAULT_METHOD) -> Fault:
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
        method=method,
        maker="peft",
        planted=planted,
    )


def only(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other fault."""
    faults()  # the shipped ones are registered before, not into what takes their place
    monkeypatch.setattr(registry, "_faults", {fault.id: fault})


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "known_failures", lambda maker: ())


@pytest.mark.usefixtures("nothing_known")
def test_what_fails_without_the_fault_does_not_count() -> None:
    fault = harmless()
    clause = detection.named_clause(fault)
    failing = detection.failing_before(clause, fault, QUICK)
    assert failing
    with detection.in_force(fault) as planted:
        assert detection.detected(detection.search_with_fault(clause, planted, QUICK), planted)
        assert not detection.detected(detection.search_with_fault(clause, planted, QUICK, failing), planted)


def test_known_failures_do_not_count() -> None:
    fault = harmless()
    with detection.in_force(fault) as planted:
        verdict = detection.search_with_fault(detection.named_clause(fault), planted, QUICK)
    assert verdict.known
    assert not detection.detected(verdict, planted)


@pytest.mark.usefixtures("nothing_known")
def test_a_violation_while_the_fault_never_fired_does_not_count() -> None:
    with detection.in_force(harmless(fires=False)) as planted:
        verdict = detection.search_with_fault(detection.named_clause(planted.fault), planted, QUICK)
    assert verdict.outcome is Outcome.VIOLATES
    assert not detection.detected(verdict, planted)


@pytest.fixture
def few_clauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chapter and the clause that names the harmless fault: the whole table is the command's business."""
    monkeypatch.setattr(
        table, "clauses", lambda: select(["positions", "equivalence.*_tokens", "equivalence.forward_*"])
    )


@pytest.mark.usefixtures("few_clauses")
def test_the_table_names_all_finders_and_counts_examples() -> None:
    (found,) = detections(["forward_hides_one"], seeds=2)
    assert found.clauses == ("equivalence.forward_agrees_with_generate",)
    assert (found.examples_median, found.examples_worst) == (1, 1)
    assert found.method == DEFAULT_METHOD
    assert found.fired
    assert found.cpu_seconds > 0


@pytest.mark.usefixtures("few_clauses")
def test_the_table_says_that_a_fault_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    only(harmless(), monkeypatch)
    (missed,) = detections(seeds=1)
    assert missed.fault == "harmless"
    assert missed.clauses == ()
    assert (missed.examples_median, missed.examples_worst) == (None, None)


def test_every_search_is_for_the_method_of_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []

    def search(clause: Clause, *_: object, method: str) -> Verdict:
        searched.append((clause.id, method))
        return Verdict(outcome=Outcome.CONFORMS)

    monkeypatch.setattr(detection, "search", search)
    monkeypatch.setattr(table, "clauses", lambda: select(["equivalence.forward_*"]))
    detection._failing.cache_clear()
    only(harmless(method="P_TUNING"), monkeypatch)
    (missed,) = detections(["harmless"], seeds=1)
    assert missed.method == "P_TUNING"
    # Without the fault, with it, and with it once more for the one seed.
    assert searched == 3 * [("equivalence.forward_agrees_with_generate", "P_TUNING")]


def test_an_unknown_fault_is_the_callers_mistake() -> None:
    with pytest.raises(UserError, match="no fault 'gradient_cuts'"):
        list(detections(["gradient_cuts"]))
    with pytest.raises(UserError, match="no fault 'gone'"), planted_maker("reference+gone"):
        pass


def afresh(maker: str, folder: Path, found_by: str = FOUND_BY) -> list[float]:
    request = LoadAndGenerate(maker=maker, found_by=found_by, case=CASE, folder=str(folder))
    assert call_kept({}, f"{load_and_generate.__module__}:{load_and_generate.__name__}", request, str) == ""
    return [round(float(x), 4) for x in load_file(folder / ANSWER)["logits"].flatten()]


@pytest.mark.parametrize("id", ["keys_and_values_swapped", "peft_keys_and_values_swapped"])
def test_a_fault_is_in_force_in_a_fresh_process_too(id: str, tmp_path: Path) -> None:
    maker = faults()[id].maker
    Lab(maker).new_subject(CASE).save(tmp_path)
    assert afresh(maker, tmp_path, MAKERS[maker].found_by) != afresh(f"{maker}+{id}", tmp_path)
    with detection.in_force(faults()[id]) as planted:
        here = planted.lab.generate(CASE)
    assert afresh(f"{maker}+{id}", tmp_path) == [round(float(x), 4) for x in here.logits.flatten()]
