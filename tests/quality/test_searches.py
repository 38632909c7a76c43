"""What is said of a search as a whole: the same each time, with the time it took, and of a Case that was confirmed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.finding import encode
from conformance.core.outcome import Outcome


# -- determinism ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("needed", [None, "padded", "refused"])
def test_the_same_search_gives_the_same_verdict(kit: Any, needed: str | None) -> None:
    def ends(case: Case) -> Exception | None:
        if needed == "refused":
            return kit.refusal() if case.padded else None
        return kit.wrong() if needed and case.padded else None

    one, other = (encode(replace(kit.search(ends), cpu_seconds=0.0)) for _ in range(2))
    assert one == other


def test_the_time_that_was_spent_is_told(kit: Any) -> None:
    def ends(case: Case) -> None:
        sum(range(20_000))

    assert kit.search(ends).cpu_seconds > 0


def test_a_shrink_that_ends_where_only_float32_is_wrong_leaves_the_first_confirmed_case(kit: Any) -> None:
    """Alone a row is wrong in float32 only, so the first violation that is confirmed is of two; the shrink ends at one."""

    def ends(case: Case) -> object:
        right = case.dtype == "float64" and len(case.rows) == 1
        return None if right else kit.wrong("the logits differ", margin=1.0, error=1e-5)

    verdict = kit.search(ends)
    assert verdict.outcome is Outcome.VIOLATES
    assert len(verdict.finding.case.rows) > 1
