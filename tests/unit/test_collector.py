"""The cyclic collector is quiet while items are judged, and only then."""

from __future__ import annotations

import gc

import pytest

from conformance.core.case import Case, base_of, model_of
from conformance.worker import collector

pytestmark = pytest.mark.light


def test_the_thresholds_of_before_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Called twice, the first thresholds are the ones of before. Another test may have called it in this process."""
    monkeypatch.setattr(collector, "_before", [])
    before = gc.get_threshold()
    collector.calm()
    assert gc.get_threshold() == collector.THRESHOLDS
    collector.calm()
    collector.restore()
    assert gc.get_threshold() == before


def test_restoring_what_was_never_changed_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's own thresholds are left alone."""
    monkeypatch.setattr(collector, "_before", [])
    before = gc.get_threshold()
    gc.set_threshold(1234, 5, 6)
    try:
        collector.restore()
        assert gc.get_threshold() == (1234, 5, 6)
    finally:
        gc.set_threshold(*before)


def test_what_identifies_a_model_asks_for_the_fields_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """msgspec evaluates all annotations of a record at each question: an eighth of what an example cost."""
    import msgspec.structs

    case = Case(family="llama", new_tokens=3)
    expected = base_of(case), model_of(case)
    monkeypatch.setattr(msgspec.structs, "fields", lambda kind: pytest.fail("the fields were asked for again"))
    assert (base_of(case), model_of(case)) == expected
