"""The floors of clauses suit what the sound pair decides: a pair of which nothing is expected is held against them."""

from __future__ import annotations

import pytest

from conformance.clauses import clauses
from conformance.core.finding import DEFAULT_METHOD
from conformance.core.outcome import CONFORMS, KNOWN, Outcome
from conformance.core.pair import Pair
from conformance.engine.search import PROFILES, drawn
from conformance.families import family_named
from conformance.session.expectation import path_for, read_expectation
from conformance.strategies import strata

SOUND = Pair("0.21.2", "5.23.0")
EXPECTED = {
    name: cell
    for name, cell in read_expectation(path_for(SOUND), SOUND).cells.items()
    if cell.word in (CONFORMS, KNOWN) and not clauses()[name.partition("[")[0]].fixed_case
}


@pytest.mark.parametrize("item", EXPECTED)
def test_the_sound_pair_decides_more_than_the_floor(item: str) -> None:
    counts = EXPECTED[item].counts
    name, _, judged = item.rstrip("]").partition("[")
    family, _, method = judged.partition("/")
    clause = clauses()[name]
    rows = strata(family_named(family), PROFILES["quick"], 0, clause.placed, method or DEFAULT_METHOD)
    drawn_cases = [drawn(family, row, 0, method or DEFAULT_METHOD) for row in rows]
    asked = sum(not clause.missing(case) for fresh in drawn_cases for case in clause.cases(fresh))
    if clause.floor.may_refuse:
        asked -= counts.get(Outcome.REFUSED.value, 0)
    decided = counts.get(Outcome.CONFORMS.value, 0) + counts.get(Outcome.VIOLATES.value, 0)
    assert decided >= clause.floor.share * asked
