"""Each shipped known failure still fails with everything else mended, and its mend, and no other, cures it: its reason is right.

Those of placed models are looked at in a child, which `test_in_a_child.py` starts.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.clauses import clauses
from conformance.compat.versions import versions
from conformance.core.outcome import Outcome
from conformance.engine import known
from conformance.engine.controls import confirm, run_with_control
from conformance.engine.explain import explained, with_mends
from conformance.engine.known import KnownFailure
from conformance.methods import METHODS
from conformance.runs.lab import Lab

SHIPPED = tuple(entry for entry in known.load(known.shipped()) if entry.applies(versions()))
HERE = ("CONFORMANCE_INSIDE" in os.environ, os.environ.get("CONFORMANCE_LANE", ""))
ENTRIES = {entry.id: entry for entry in SHIPPED if (entry.case.placed, entry.lane) == HERE}


def others(entry: KnownFailure) -> tuple[KnownFailure, ...]:
    """All that is known beside ``entry``: behind a prefix that is ignored no other bug shows."""
    return tuple(other for other in SHIPPED if other.mend != entry.mend)


def test_there_are_some() -> None:
    assert ENTRIES


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_with_everything_else_mended_it_still_fails_and_only_its_own_mend_cures_it(entry: KnownFailure) -> None:
    clause = clauses()[entry.clause]
    with with_mends(Lab(), others(entry)) as lab:
        example = confirm(clause, lab, run_with_control(clause, lab, entry.case))
        assert example.outcome is Outcome.VIOLATES
        assert explained(clause, lab, example, (entry,)).known == (entry.id,)


SHARED = [(id, method) for id, entry in ENTRIES.items() for method in METHODS if method in entry.methods]


@pytest.mark.parametrize(("id", "method"), [one for one in SHARED if one[1] != ENTRIES[one[0]].case.method])
def test_its_mend_cures_the_same_case_with_every_other_method_that_it_names(id: str, method: str) -> None:
    entry = ENTRIES[id]
    clause, case = clauses()[entry.clause], replace(entry.case, method=method)
    with with_mends(Lab(), others(entry)) as lab:
        assert run_with_control(clause, lab, case).outcome in (Outcome.VIOLATES, Outcome.REFUSED)
    with with_mends(Lab(), SHIPPED) as lab:
        assert run_with_control(clause, lab, case).outcome is Outcome.CONFORMS
