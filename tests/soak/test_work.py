"""What a soak judges; and that it cries where there is something to cry about, and when a process is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from conformance.clauses.registry import clause_named
from conformance.core.case import Case, Roles, Row
from conformance.core.errors import UserError
from conformance.engine.search import drawn
from conformance.families import family_named
from conformance.faults.registry import Planted, fault_named
from conformance.runs.lab import Lab
from conformance.soak import SUBJECTS, spread
from conformance.soak import work as working
from conformance.soak.spread import Plan, soak
from conformance.soak.subjects import subjects_named
from conformance.soak.tally import Tally
from conformance.soak.work import Work, do, new_cases
from conformance.strategies import strata

ROLES = Roles(layers=2, heads=2, kv_heads=2, head_dim=4, width=8, ffn=16, activation="silu", rope="default")
PADDED = Case(family="llama", roles=ROLES, rows=(Row(length=3), Row(length=1, seed=1)))


class InProcess:
    """Stands in for a child: it does the work here."""

    ended = False

    def __init__(self, changes: object) -> None:
        """As a child."""

    def call(self, function: str, record: Work, answer: type[Tally], seconds: float) -> Tally:
        """As of a child."""
        return do(record)

    def kill(self) -> None:
        """There is no process."""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No children are started."""
    monkeypatch.setattr(spread, "Child", InProcess)


def work(clause: str, **changes: object) -> Work:
    fields = {"subject": "reference", "family": "llama", "clauses": (clause,), **changes}
    return Work(**fields)  # type: ignore[arg-type]


def plan(*clauses: str, **changes: object) -> Plan:
    fields = {
        "subjects": ("reference",),
        "families": ("llama",),
        "clauses": tuple(map(clause_named, clauses)),
        "methods": ("PREFIX_TUNING",),
        "examples": 1,
        **changes,
    }
    return Plan(**fields)  # type: ignore[arg-type]


def test_every_seed_brings_only_what_no_earlier_seed_has_drawn() -> None:
    visited = [new_cases(work("masks.row_order", examples=2, first=4, seed=seed)) for seed in (4, 5, 6)]
    every = [case for cases in visited for case in cases]
    assert all(visited)
    assert len(set(every)) == len(every)
    llama = family_named("llama")
    assert set(every) == {drawn("llama", row, seed) for seed in (4, 5, 6) for row in strata(llama, 2, seed)}


def test_a_fault_in_a_healthy_subject_is_an_alarm_with_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def ill() -> Iterator[Lab]:
        with fault_named("pads_visible").planted(Planted.fired) as maker:
            yield Lab(maker)

    monkeypatch.setitem(SUBJECTS, "ill", ill)
    found = do(work("masks.rows_alone", subject="ill", case=PADDED))
    (alarm,) = found.alarms
    assert (alarm.subject, alarm.word, alarm.case, str(alarm.item)) == (
        "ill",
        "violates",
        PADDED,
        "masks.rows_alone[llama]",
    )
    assert found.counts[0].words == {"violates": 1}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_healthy_subject_is_none(subject: str) -> None:
    found = do(work("masks.rows_alone", subject=subject, case=PADDED))
    assert (found.alarms, found.counts[0].words) == ((), {"conforms": 1})


def test_what_is_known_of_peft_is_mended() -> None:
    """Pads that use up the window: a known failure, which no healthy subject may have."""
    roles = replace(ROLES, layers=1, heads=1, kv_heads=1, width=4, window=5, sliding=(True,))
    case = Case(family="mistral", roles=roles, rows=(Row(length=1), Row(length=2)), new_tokens=4)
    found = do(work("equivalence.step_logits", subject="mended", family="mistral", case=case))
    assert (found.alarms, found.counts[0].words) == ((), {"conforms": 1})


def test_a_family_that_is_absent_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.families.presence.absent", lambda family: "transformers has no LlamaForCausalLM")
    with pytest.raises(RuntimeError, match="nothing can be judged: transformers has no"):
        do(work("masks.rows_alone", case=PADDED))


def test_a_family_s_own_case_is_judged_once_and_not_with_every_seed() -> None:
    story = "lifecycle.learned_mapping_survives"
    assert [clause.id for clause, _ in working._pairs(work(story))] == [story]
    assert not list(working._pairs(work(story, first=0, seed=1)))
    assert not list(working._pairs(work(story, family="opt")))


@pytest.mark.usefixtures("here")
def test_rounds_follow_until_enough_was_judged() -> None:
    seeds = []
    found = soak(plan("masks.row_order", examples=1, least=24), lambda work, done, sum: seeds.append(work.seed))
    assert found.complete
    assert found.judged >= 24
    assert seeds == list(range(len(seeds)))
    assert len(seeds) > 1, found.judged


@pytest.mark.usefixtures("here")
def test_a_soak_that_finds_nothing_more_to_judge_is_not_complete() -> None:
    found = soak(plan("lifecycle.learned_mapping_survives", families=("opt",), least=12))
    assert (found.complete, found.judged, found.exit_code) == (False, 0, 3)


@pytest.mark.usefixtures("here")
def test_one_case_is_enough_where_it_is_given() -> None:
    found = soak(plan("masks.rows_alone", case=replace(PADDED, rows=PADDED.rows[:1]), least=12))
    assert (found.complete, found.judged, found.exit_code) == (True, 0, 5)


def test_workers_change_no_count() -> None:
    plans = [plan("masks.row_order", families=("llama", "gpt2"), workers=workers) for workers in (1, 2)]
    assert soak(plans[0]).counts == soak(plans[1]).counts


def test_a_lost_process_is_an_alarm_and_the_soak_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "SECONDS", 0.0)
    found = soak(plan("masks.row_order", families=("llama", "gpt2")))
    assert [alarm.item.family for alarm in found.alarms] == ["llama", "gpt2"]
    assert all(alarm.case is None and "no answer in 0 s" in alarm.what for alarm in found.alarms)
    assert found.exit_code == 3


def test_subjects_are_named() -> None:
    assert subjects_named(None) == tuple(SUBJECTS)
    assert subjects_named("reference, reference") == ("reference",)
    with pytest.raises(UserError, match="reference"):
        subjects_named("peft")
