"""Merging recorded runs: the words of their pairs, and which of their violations are one."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.finding import Finding, Item
from conformance.report.failures import Place
from conformance.report.merged import Merged, merge_runs
from conformance.session.events import Run
from conformance.session.reader import read_events

pytestmark = pytest.mark.light


@pytest.fixture
def matrix(golden: Path) -> Merged:
    """Nine recorded files of eight pairs."""
    return merge_runs(read_events(file) for file in (golden / "matrix").glob("*.jsonl"))


def test_the_recorded_pairs_have_the_words_they_were_written_for(matrix: Merged) -> None:
    assert {(pair.pair.peft, pair.pair.transformers): pair.word for pair in matrix.pairs} == {
        ("0.21.2", "5.23.0"): "known",
        ("0.21.2", "4.45.1"): "conforms",
        ("0.21.2", "4.38.0"): "broken harness",
        ("0.14.0", "5.23.0"): "incomplete",
        ("0.14.0", "4.45.1"): "conforms",
        ("0.13.2", "5.23.0"): "impossible",
        ("0.13.2", "4.45.1"): "violates",
        ("0.13.2", "4.38.0"): "not run",
    }


def test_equal_violations_are_one_and_a_crash_is_one_whichever_clause_met_it(matrix: Merged) -> None:
    wrong, crash = matrix.failures[1:]
    assert [str(place.item) for place in wrong.at] == [
        "equivalence.step_logits[gpt2]",
        "equivalence.step_logits[llama]",
    ]
    assert [str(place.item) for place in crash.at] == ["injection.present[t5]", "masks.rows_alone[t5]"]
    assert [finding.clause for finding in crash.also] == ["masks.rows_alone"]


def findings(of: Run) -> list[Finding]:
    return [cell.verdict.finding for cell in of.cells if cell.verdict and cell.verdict.finding]


def test_the_same_violation_on_two_pairs_is_stored_once(golden: Path, matrix: Merged) -> None:
    old = read_events(golden / "matrix" / "violates.jsonl")
    moved = [replace(of, where="peft/peft_model.py:9 prepare_inputs_for_generation") for of in findings(old)]
    cells = iter(moved)
    newer = replace(
        old,
        header=replace(old.header, versions=old.header.versions | {"peft": "0.13.1"}),
        cells=tuple(
            replace(c, verdict=replace(c.verdict, finding=next(cells))) if c.verdict and c.verdict.finding else c
            for c in old.cells
        ),
    )
    merged = merge_runs([old, newer])
    assert len(merged.failures) == 2
    assert [place.pair for place in merged.failures[0].at] == [0, 0, 1, 1]
    assert merged.failures[0].finding.where == "peft/peft_model.py:1690 prepare_inputs_for_generation"


def test_a_known_failure_has_its_reason_its_replays_and_where_it_was_met(matrix: Merged) -> None:
    (known,) = matrix.known
    assert (known.id, known.states) == ("training-counts-pads", {"mended": (4,), "still fails": (0,)})
    assert known.at == (Place(0, Item("masks.rows_alone", "llama")),)
    assert known.links == ("huggingface/peft#869",)
    assert known.finding is not None
    assert matrix.pairs[4].notes == ("listed as a known failure, but fixed: training-counts-pads",)
