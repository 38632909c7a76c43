"""Known failures -> the verdict of an item: what an entry explains, what it only resembles, and what its range leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from conformance.core.case import Case, Row
from conformance.core.outcome import How, Outcome
from conformance.core.signals import Undecided
from conformance.engine.known import KnownFailure
from conformance.engine.search import PROFILES
from conformance.families import family_named
from conformance.strategies import strata

QUICK = len(list(strata(family_named("llama"), PROFILES["quick"], 0)))


def padded_known(**changes: Any) -> KnownFailure:
    entry = KnownFailure(
        id="padded",
        clauses=("quality.*",),
        families=("*",),
        how=How.WRONG,
        features=("left_padded",),
        peft=">=0",
        transformers=">=0",
        function="f",
        mend="contextlib:nullcontext",
        reason="",
        clause="quality.claim",
        case=Case(family="llama", rows=(Row(), Row(length=2))),
    )
    return replace(entry, **changes)


@pytest.fixture
def padded(kit: Any) -> Any:
    """Every padded Case violates."""
    return lambda case: kit.wrong() if case.padded else None


def test_a_broken_harness_comes_before_a_violation(kit: Any) -> None:
    known = (padded_known(features=()),)

    def ends(case: Case) -> Any:
        return ZeroDivisionError() if case.prefix.projection else kit.wrong()

    verdict = kit.search(ends, known=known, mended=lambda ids, case: ends(case) if case.prefix.projection else None)
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.counts["violates"] > 0
    assert any("ZeroDivisionError" in reason for reason in verdict.reasons)


def test_a_known_failure_alone_is_counted_and_never_shown_as_a_finding(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.wrong() if case.padded else None, known=(padded_known(),))
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding is None
    assert verdict.known == {"padded": verdict.counts["violates"]}
    assert sum(verdict.counts.values()) == QUICK


@pytest.mark.parametrize("needed", ["projection", "n_equals_prompt"])
def test_a_known_failure_does_not_hide_another_violation(kit: Any, needed: str) -> None:
    def other(case: Case) -> bool:
        return bool(case.prefix.projection) if needed == "projection" else case.prefix.length == case.longest

    ends = lambda case: kit.wrong() if case.padded or other(case) else None  # noqa: E731
    verdict = kit.search(ends, known=(padded_known(),), mended=lambda ids, case: kit.wrong() if other(case) else None)
    assert verdict.finding is not None
    assert needed in verdict.finding.features
    assert "left_padded" not in verdict.finding.features, "the shrink slipped into the known failure"


def test_the_smallest_case_is_not_one_of_a_known_failure(kit: Any) -> None:
    """Every Case violates, and those of one row are understood: one row fewer would be simpler, but another failure."""
    verdict = kit.search(lambda case: kit.wrong(), known=(padded_known(features=("one_row",)),))
    assert verdict.known["padded"] > 0
    assert verdict.finding.case.rows == (Row(), Row())


def test_a_known_failure_of_another_kind_does_not_match(kit: Any) -> None:
    verdict = kit.search(lambda case: kit.crash() if case.padded else None, known=(padded_known(),))
    assert verdict.known == {}
    assert verdict.finding.how is How.CRASH


def test_a_known_failure_that_is_gone_changes_nothing(kit: Any) -> None:
    assert kit.search(lambda case: None, known=(padded_known(),)).outcome is Outcome.CONFORMS


def test_what_only_resembles_a_known_failure_is_a_violation_of_its_own(kit: Any, padded: Any) -> None:
    """Another bug under the same features, seen by the same clause in the same way: the mend does not cure it."""
    verdict = kit.search(padded, known=(padded_known(),), mended=lambda ids, case: padded(case))
    assert (verdict.outcome, verdict.known) == (Outcome.VIOLATES, {})
    assert verdict.finding.mended == ("padded",)


def test_the_minimal_case_of_what_is_left_violates_with_and_without_mends(kit: Any, padded: Any) -> None:
    left = lambda ids, case: padded(case) if case.prefix.length >= 3 else None  # noqa: E731
    verdict = kit.search(padded, known=(padded_known(),), mended=left)
    assert (verdict.finding.case.prefix.length, verdict.finding.case.rows) == (3, (Row(), Row(length=2)))


BOTH = (padded_known(id="one"), padded_known(id="two"))


def test_where_one_mend_is_not_enough_all_that_it_resembles_are_in_force(kit: Any, padded: Any) -> None:
    verdict = kit.search(padded, known=BOTH, mended=lambda ids, case: None if len(ids) == 2 else padded(case))
    assert verdict.known == dict.fromkeys(("one", "two"), verdict.counts["violates"])


def test_a_mend_that_is_not_needed_is_not_counted(kit: Any, padded: Any) -> None:
    verdict = kit.search(padded, known=BOTH, mended=lambda ids, case: None if "two" in ids else padded(case))
    assert verdict.known == {"two": verdict.counts["violates"]}


def test_a_mend_that_changes_nothing_is_not_counted_beside_those_that_do(kit: Any, padded: Any) -> None:
    """The crash resembles an entry that has no part in it; the next one's mend lets a wrong answer be seen."""
    known = (padded_known(id="idle", how=None), padded_known(id="crash", how=How.CRASH), padded_known(id="wrong"))

    def left(ids: tuple[str, ...], case: Case) -> Any:
        return kit.crash() if "crash" not in ids else None if "wrong" in ids else padded(case)

    verdict = kit.search(lambda case: kit.crash() if case.padded else None, known=known, mended=left)
    assert verdict.known == dict.fromkeys(("crash", "wrong"), verdict.counts["violates"])


def test_of_two_that_explain_it_the_one_that_needs_more_of_a_case_is_named(kit: Any, padded: Any) -> None:
    known = (padded_known(id="any", features=()), padded_known(id="padded"))
    assert set(kit.search(padded, known=known, mended=lambda ids, case: None).known) == {"padded"}


def test_what_is_seen_under_a_mend_may_resemble_another_known_failure(kit: Any, padded: Any) -> None:
    """A crash is mended, and behind it there is a wrong answer that is known, too."""
    known = (padded_known(id="crash", how=How.CRASH), padded_known(id="wrong"))
    verdict = kit.search(
        lambda case: kit.crash() if case.padded else None,
        known=known,
        mended=lambda ids, case: padded(case) if ids == ("crash",) else None,
    )
    assert verdict.known == dict.fromkeys(("crash", "wrong"), verdict.counts["violates"])


@pytest.mark.parametrize(("left", "word"), [(Undecided("close"), "undecided"), (ZeroDivisionError(), "broken harness")])
def test_what_a_mend_leaves_is_said_and_not_known(kit: Any, padded: Any, left: Exception, word: str) -> None:
    verdict = kit.search(padded, known=(padded_known(),), mended=lambda ids, case: left)
    assert verdict.known == {}
    assert verdict.counts[word] > 0
    assert any(reason.startswith("with padded mended: ") for reason in verdict.reasons)


def test_behind_what_it_resembles_there_may_be_what_it_does_not(kit: Any, padded: Any) -> None:
    """A wrong answer is mended, and what was behind it is refused; with both that concern it, and no third, it conforms."""
    known = (padded_known(id="seen"), padded_known(id="behind", how=How.CRASH), padded_known(id="third", how=How.CRASH))
    verdict = kit.search(
        padded,
        known=known,
        mended=lambda ids, case: None if {"seen", "behind"} <= set(ids) else kit.refusal(),
    )
    assert verdict.known == dict.fromkeys(("seen", "behind"), verdict.counts["violates"])


def test_a_refusal_under_a_mend_leaves_the_violation_as_it_was(kit: Any, padded: Any) -> None:
    verdict = kit.search(padded, known=(padded_known(),), mended=lambda ids, case: kit.refusal())
    assert (verdict.outcome, verdict.known, verdict.finding.mended) == (Outcome.VIOLATES, {}, ())


def test_a_crash_without_a_mend_is_known_by_its_words(kit: Any) -> None:
    entry = padded_known(how=How.CRASH, mend="", unmendable="it is in a kernel", words="RuntimeError: shapes*")
    ends = lambda case: kit.crash() if case.padded else None  # noqa: E731
    assert kit.search(ends, known=(entry,)).known["padded"] > 0
    assert kit.search(ends, known=(replace(entry, words="KeyError*"),)).known == {}


def test_an_entry_whose_range_leaves_these_versions_out_explains_nothing_and_is_told(kit: Any, padded: Any) -> None:
    """Only where its mend cures the minimal Case; and an entry that is in its range is none of these."""
    ended = padded_known(peft="<0.1")
    verdict = kit.search(padded, known=(ended,))
    assert (verdict.outcome, verdict.known, verdict.finding.beyond) == (Outcome.VIOLATES, {}, ("padded",))
    for known, left in (
        (ended, padded),
        (padded_known(), padded),
        (padded_known(peft="<0.1", features=("tied",)), None),
    ):
        cured = lambda ids, case, left=left: left and left(case)  # noqa: E731
        assert kit.search(padded, known=(known,), mended=cured).finding.beyond == ()
