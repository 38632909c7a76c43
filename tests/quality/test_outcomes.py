"""Examples -> the verdict of one item: precedence, controls, repetition, float64, counting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import ge
from typing import Any

import pytest
from msgspec.structs import replace

from conformance.clauses.preconditions import many_rows
from conformance.core.case import Case, Prefix, Row
from conformance.core.outcome import Blame, How, Outcome
from conformance.core.signals import NotApplicable, RunFailed, Undecided
from conformance.engine.search import PROFILES, Budget
from conformance.families import family_named
from conformance.runs.call_limit import NeverAnswers
from conformance.strategies import strata

QUICK = len(list(strata(family_named("llama"), PROFILES["quick"], 0)))
TOLD = Case(family="llama", rows=(Row(length=4, text="1+1="),))
REASON = "not deterministic: the base model's generate does not repeat itself either"


# -- precedence and counting ------------------------------------------------------------------------------------------
def test_a_claim_that_holds_conforms(kit: Any) -> None:
    verdict = kit.search(lambda case: None)
    assert (verdict.outcome, verdict.counts, verdict.decisive) == (Outcome.CONFORMS, {"conforms": QUICK}, QUICK)
    assert (verdict.finding, verdict.reasons, verdict.evidence) == (None, {}, ())


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (lambda kit: kit.refusal(), Outcome.REFUSED),
        (lambda kit: Undecided("too close"), Outcome.UNDECIDED),
        (lambda kit: NotApplicable("no such thing"), Outcome.NOT_APPLICABLE),
        (lambda kit: kit.wrong(), Outcome.VIOLATES),
        (lambda kit: kit.crash(), Outcome.VIOLATES),
        (lambda kit: ZeroDivisionError("a bug of ours"), Outcome.BROKEN),
    ],
)
def test_each_way_to_end_has_its_verdict(kit: Any, make: Any, outcome: Outcome) -> None:
    verdict = kit.search(lambda case: make(kit))
    assert verdict.outcome is outcome
    assert verdict.decisive == 0
    assert verdict.counts[outcome.value] == (1 if outcome in (Outcome.VIOLATES, Outcome.BROKEN) else QUICK)


def test_the_first_in_the_order_is_the_verdict_and_the_rest_is_counted(kit: Any) -> None:
    """Refused before undecided before not applicable, whatever is more frequent."""

    def ends(case: Case) -> Exception | None:
        if case.roles.layers == 1:
            return kit.refusal()  # type: ignore[no-any-return]
        return Undecided("too close") if case.roles.layers == 2 else NotApplicable("no such thing")

    verdict = kit.search(ends)
    assert verdict.outcome is Outcome.REFUSED
    assert set(verdict.counts) == {"refused", "undecided", "not applicable"}
    assert sum(verdict.counts.values()) == QUICK
    assert verdict.reasons == {
        "refused: ValueError: no `StaticCache`": verdict.counts["refused"],
        "too close": verdict.counts["undecided"],
        "no such thing": verdict.counts["not applicable"],
    }


def test_enough_decisive_examples_conform_beside_refused_ones(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.refusal() if case.padded else None)
    assert verdict.outcome is Outcome.CONFORMS
    assert verdict.counts["refused"] > 0


@pytest.mark.parametrize("examples", [PROFILES["quick"], 2])
def test_a_claim_that_speaks_of_few_cases_goes_on_until_enough_are_decided(kit: Any, examples: int) -> None:
    """Of one pair of classes: each array has it, and there are as many arrays as it takes, and not one Case more."""
    few = lambda case: None if case.roles.rope == "llama3" and case.padded else NotApplicable("no")  # noqa: E731
    verdict = kit.search(few, budget=Budget(examples=examples))
    assert (verdict.outcome, verdict.decisive) == (Outcome.CONFORMS, 5 * examples)
    assert sum(verdict.counts.values()) > len(list(strata(family_named("llama"), examples, 0)))


def test_a_claim_of_which_nothing_was_decided_does_not_go_on(kit: Any) -> None:
    verdict = kit.search(lambda case: NotApplicable("no such thing"), budget=Budget())
    assert verdict.counts == {"not applicable": QUICK}


def test_a_violation_comes_before_all_that_conforms(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.wrong() if case.prefix.projection else None)
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.counts["conforms"] == verdict.decisive > 0


# -- decisive examples ------------------------------------------------------------------------------------------------
def only(count: int) -> Any:
    """Conforms ``count`` times, then says nothing."""
    seen: set[str] = set()

    def ends(case: Case) -> Exception | None:
        seen.add(case.id)
        return None if len(seen) <= count else NotApplicable("no more")

    return ends


def test_too_few_decisive_examples_do_not_conform(kit: Any) -> None:
    enough, few = kit.search(only(5)), kit.search(only(4))
    assert (enough.outcome, enough.decisive) == (Outcome.CONFORMS, 5)
    assert (few.outcome, few.decisive) == (Outcome.UNDECIDED, 4)
    assert few.reasons["only 4 decisive examples, 5 needed"] == 1


def test_a_larger_budget_needs_more_of_them(kit: Any) -> None:
    budget = Budget(examples=PROFILES["standard"])
    assert kit.search(only(19), budget=budget).outcome is Outcome.UNDECIDED
    assert kit.search(only(20), budget=budget).outcome is Outcome.CONFORMS


def test_a_clause_says_how_many_it_needs(kit: Any) -> None:
    assert kit.search(only(2), decisive=2).outcome is Outcome.CONFORMS


# -- predicates -------------------------------------------------------------------------------------------------------
def test_a_case_that_lacks_something_is_not_run(kit: Any) -> None:
    ran: list[Case] = []
    verdict = kit.search(ran.append, requires=(many_rows,))
    assert all(len(case.rows) > 1 for case in ran)
    assert verdict.counts["conforms"] == len(ran)
    assert verdict.counts["not applicable"] == verdict.reasons["There is only one row"] == QUICK - len(ran)


# -- repetition, control, float64 -------------------------------------------------------------------------------------
class Runs:
    """Violates in the runs whose number, counted from 1, ``fails`` names."""

    def __init__(self, kit: Any, fails: Callable[[int], bool]) -> None:
        self.kit, self.fails, self.count = kit, fails, 0

    def __call__(self, case: Case) -> Exception | None:
        self.count += 1
        return self.kit.wrong() if self.fails(self.count) else None


@pytest.mark.parametrize("later", [lambda run: run == 1, lambda run: run != 2, lambda run: run % 2 == 1])
@pytest.mark.parametrize(
    "how", [{}, {"fixed_case": lambda kind: TOLD, "decisive": 1}, {"budget": Budget(shrink=False)}]
)
def test_a_violation_that_does_not_repeat_is_one_although_the_base_model_repeats(
    kit: Any, later: Any, how: dict[str, Any]
) -> None:
    """Whatever comes later, and although what follows may conform; with both outcomes, and not made smaller."""
    verdict = kit.search(Runs(kit, later), **how)
    assert (verdict.outcome, verdict.counts) == (Outcome.VIOLATES, {"violates": 1})
    difference = verdict.finding.difference
    assert verdict.finding.blame is Blame.PEFT
    assert difference.what == "not deterministic: the logits differ, and something else when repeated"
    assert difference.got == "first 1; then conforms"
    assert difference.expected == "the same twice, as of the base model and the oracle: 2"


@pytest.mark.parametrize("later", [lambda run: run == 1, lambda run: run != 2])
def test_where_the_base_model_does_not_repeat_itself_either_it_is_ours(kit: Any, later: Any) -> None:
    verdict = kit.search(Runs(kit, later), wavers="the base model's generate does not repeat itself either")
    assert (verdict.outcome, verdict.counts) == (Outcome.BROKEN, {"broken harness": 1})
    assert verdict.finding is None
    assert verdict.reasons == {REASON: 1}


def test_a_violation_that_is_lost_while_it_is_shrunk_stays_one(kit: Any) -> None:
    always = Runs(kit, lambda run: True)
    assert kit.search(always).outcome is Outcome.VIOLATES
    for last in range(2, always.count):
        verdict = kit.search(Runs(kit, partial(ge, last)))
        assert verdict.outcome is Outcome.VIOLATES, last
        assert "not deterministic" in verdict.finding.difference.what, last


def test_where_the_base_model_fails_too_it_says_nothing_and_keeps_the_evidence(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.wrong(), base=lambda case: kit.wrong("so does the base"))
    assert (verdict.outcome, verdict.counts) == (Outcome.NOT_APPLICABLE, {"not applicable": QUICK})
    assert verdict.reasons == {"the base model alone fails too: so does the base": QUICK}
    (evidence,) = verdict.evidence
    assert evidence.blame is Blame.TRANSFORMERS
    assert evidence.case.prefix == Prefix(length=0, seed=evidence.case.prefix.seed)


def test_where_the_base_model_refuses_it_says_nothing(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.crash(), base=lambda case: kit.refusal())
    assert (verdict.outcome, verdict.evidence) == (Outcome.NOT_APPLICABLE, ())
    assert set(verdict.reasons) == {"the base model refused: ValueError: no `StaticCache`"}


@pytest.mark.parametrize("base", [NotApplicable("no"), Undecided("close"), None])
def test_a_control_that_does_not_fail_excuses_nothing(kit: Any, base: Exception | None) -> None:
    verdict = kit.search(lambda case: kit.wrong(), base=lambda case: base)
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding.blame is Blame.PEFT


def test_where_the_claim_means_nothing_without_a_prefix_the_base_model_must_run(kit: Any) -> None:
    runs = kit.search(lambda case: kit.wrong(), control="runs")
    crashes = kit.search(lambda case: kit.crash(), control="runs", base=lambda case: kit.crash())
    assert runs.outcome is Outcome.VIOLATES
    assert crashes.outcome is Outcome.NOT_APPLICABLE


def test_the_control_is_not_run_where_nothing_is_suspected(kit: Any) -> None:
    asked: list[Case] = []
    kit.search(lambda case: None, base=asked.append)
    assert asked == []


@pytest.mark.parametrize(
    ("double", "margin", "outcome"),
    [
        ("wrong", 0.011, Outcome.VIOLATES),
        ("right", 9.0, Outcome.UNDECIDED),
        ("close", 9.0, Outcome.UNDECIDED),
        ("crash", 0.101, Outcome.VIOLATES),
        ("crash", 0.099, Outcome.UNDECIDED),
        ("refused", 0.101, Outcome.VIOLATES),
    ],
)
def test_a_wrong_number_must_be_wrong_in_float64_too(kit: Any, double: str, margin: float, outcome: Outcome) -> None:
    """Where float64 cannot run, the margin must be a hundred errors."""
    said = {
        "wrong": kit.wrong(margin=margin, error=1e-3),
        "right": None,
        "close": Undecided("close"),
        "crash": kit.crash(),
        "refused": kit.refusal(),
    }
    single = kit.wrong(margin=margin, error=1e-3)
    verdict = kit.search(lambda case: said[double] if case.dtype == "float64" else single)
    assert verdict.outcome is outcome


@pytest.mark.parametrize("how", [{"dtype": "bfloat16"}, {"dtype": "float16"}, {"autocast": True}])
def test_a_wrong_number_of_half_precision_need_not_be_wrong_in_float64(kit: Any, how: dict[str, Any]) -> None:
    """Its error is measured against float32; what is right in float64 says nothing of half precision."""
    single = kit.wrong(margin=0.011, error=1e-3)
    verdict = kit.search(lambda case: single if case.in_half else None, follow_ups=lambda case: (replace(case, **how),))
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding.case.in_half


@pytest.mark.parametrize("make", ["crash", "wrong"])
def test_a_crash_and_a_difference_in_bits_need_no_float64(kit: Any, make: str) -> None:
    verdict = kit.search(lambda case: getattr(kit, make)() if case.dtype == "float32" else None)
    assert verdict.outcome is Outcome.VIOLATES


# -- stories ----------------------------------------------------------------------------------------------------------
def test_a_story_is_one_case_and_one_decisive_example(kit: Any) -> None:
    ran: list[Case] = []
    verdict = kit.search(ran.append, fixed_case=lambda kind: TOLD, decisive=1)
    assert (ran, verdict.outcome, verdict.counts) == ([TOLD], Outcome.CONFORMS, {"conforms": 1})


def test_a_story_is_not_shrunk(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.wrong(), fixed_case=lambda kind: TOLD, decisive=1)
    assert (verdict.outcome, verdict.finding.case) == (Outcome.VIOLATES, TOLD)


def test_a_family_without_a_story_has_no_verdict_on_it(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.wrong(), fixed_case=lambda kind: None, decisive=1)
    assert (verdict.outcome, verdict.counts) == (Outcome.NOT_APPLICABLE, {"not applicable": 1})
    assert verdict.reasons == {"this family has no story": 1}


def test_a_wrong_answer_that_is_a_crash_when_repeated_is_told_with_both(kit: Any) -> None:
    runs = iter([kit.wrong(), *[kit.crash() for _ in range(99)]])
    verdict = kit.search(lambda case: next(runs))
    assert (verdict.outcome, verdict.finding.how) == (Outcome.VIOLATES, How.WRONG)
    assert verdict.finding.difference.got == "first 1; then generate raised: RuntimeError: shapes"


def test_a_call_that_never_answers_is_a_violation_and_is_not_shrunk_for_hours(kit: Any) -> None:
    calls: list[Case] = []

    def hangs(case: Case) -> Exception:
        calls.append(case)
        return RunFailed("generate", NeverAnswers("no answer in 120 s"), "peft/x.py:1 f", refused=False)

    verdict = kit.search(hangs)
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding.difference.got == "NeverAnswers: no answer in 120 s"
    assert len(calls) == 2  # when it is found, and when it is confirmed
