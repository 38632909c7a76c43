"""The edge of a window is reached from whatever is drawn, from both sides."""

from __future__ import annotations

import pytest

from conformance.clauses.follow_ups import at_the_edge
from conformance.clauses.preconditions import windows
from conformance.core.case import Case
from conformance.engine.search import drawn
from conformance.families import family_named
from conformance.families.possible import impossible
from conformance.methods import METHODS
from conformance.strategies import strata


def edges(name: str, method: str, start: int) -> list[Case]:
    family = family_named(name)
    cases = [drawn(name, stratum, start, method) for stratum in strata(family, 1, start, False, method)]
    return [follow for case in filter(windows, cases) for follow in at_the_edge(case)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["gemma3", "mistral"])
@pytest.mark.parametrize("start", [0, 1])
def test_each_case_is_at_the_edge_and_possible(name: str, method: str, start: int) -> None:
    found = edges(name, method, start)
    assert found
    assert {case.prefix.length - case.roles.window for case in found} <= {-1, 0, 1}
    assert not any(impossible(family_named(name), case) for case in found)
    assert all(case.prefix.length + case.longest + case.new_tokens <= case.roles.positions for case in found)


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("name", ["gemma3", "mistral"])
def test_all_three_lengths_are_reached(name: str, start: int) -> None:
    found = edges(name, "PREFIX_TUNING", start)
    assert {case.prefix.length - case.roles.window for case in found} == {-1, 0, 1}
    assert {case.prefix.length - case.roles.window for case in found if not case.padded} >= {0}
