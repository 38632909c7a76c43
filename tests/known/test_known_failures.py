"""Each shipped known failure still fails, and its reason is right: its Case conforms with its mend in force, and only with it.

Those of placed models are looked at in a child, which `test_in_a_child.py` starts.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.clauses import clauses
from conformance.compat.versions import versions
from conformance.core.outcome import Outcome
from conformance.engine import known
from conformance.engine.controls import Example, confirm, run_with_control
from conformance.engine.explain import explained
from conformance.engine.known import KnownFailure
from conformance.runs.lab import Lab

SHIPPED = tuple(entry for entry in known.load(known.shipped()) if entry.applies(versions()))
ENTRIES = {entry.id: entry for entry in SHIPPED if entry.case.placed == ("CONFORMANCE_INSIDE" in os.environ)}


def example_of(entry: KnownFailure, lab: Lab) -> Example:
    return run_with_control(clauses()[entry.clause], lab, entry.case)


def test_there_are_some() -> None:
    assert ENTRIES


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_it_still_fails_and_its_mend_explains_it(entry: KnownFailure) -> None:
    lab, clause = Lab(), clauses()[entry.clause]
    example = confirm(clause, lab, example_of(entry, lab))
    assert example.outcome is Outcome.VIOLATES
    assert entry.id in explained(clause, lab, example, SHIPPED).known


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_mending_everything_else_does_not_explain_it(entry: KnownFailure) -> None:
    lab, others = Lab(), tuple(other for other in SHIPPED if other.mend != entry.mend)
    seen = explained(clauses()[entry.clause], lab, example_of(entry, lab), others)
    assert (seen.outcome, seen.known) == (Outcome.VIOLATES, ())
