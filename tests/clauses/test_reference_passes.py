"""The reference subject passes every clause, on the boundary Case of each stratum. (That each clause fails on it with its
fault is in tests/faults; what is claimed of placed models is judged in tests/placement/chapter, where there are devices.)
"""

from __future__ import annotations

import pytest

from conformance.clauses import Clause, clauses
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget, search
from conformance.families import family_named
from conformance.runs.lab import Lab

NAMES = ("llama", "gpt2", "t5", "gemma3")
STORIES = ("llama", "qwen2", "gpt2", "t5")
CHECKED = {id: found for id, found in clauses().items() if not (found.fixed_case or found.placed)}
SILENT = {
    ("equivalence.plain_attention_agrees", "t5"),
    ("equivalence.plain_attention_agrees", "gemma3"),
    ("injection.order_free", "t5"),
    ("injection.order_free", "gemma3"),
    ("masks.decoder_mask", "gemma3"),
    ("masks.decoder_mask", "gpt2"),
    ("masks.decoder_mask", "llama"),
    ("masks.given_positions", "t5"),
    ("positions.start_after_prefix", "t5"),
    ("positions.skip_padding", "t5"),
}
"""Items that say nothing, each for a reason that lies in the family."""


@pytest.fixture(scope="module", params=NAMES)
def lab(request: pytest.FixtureRequest) -> tuple[str, Lab]:
    """One lab per family, so that the clauses share their runs as they do in a real run."""
    return request.param, Lab("reference")


@pytest.mark.parametrize("clause", CHECKED.values(), ids=CHECKED)
def test_the_reference_subject_passes(lab: tuple[str, Lab], clause: Clause) -> None:
    name, its = lab
    verdict = search(clause, family_named(name), Budget(examples=1), (), its)
    expected = Outcome.NOT_APPLICABLE if (clause.id, name) in SILENT else Outcome.CONFORMS
    assert verdict.outcome is expected, verdict.finding or verdict.reasons
    assert not {"violates", "refused", "undecided", "broken harness"} & set(verdict.counts), verdict.reasons


@pytest.mark.parametrize("maker", ["reference", "peft"])
def test_the_answer_is_learnt_and_survives(maker: str) -> None:
    story = clauses()["lifecycle.learned_mapping_survives"]
    outcomes = {name: search(story, family_named(name), Budget(), (), Lab(maker)) for name in STORIES}
    assert {name: verdict.outcome for name, verdict in outcomes.items()} == dict.fromkeys(STORIES, Outcome.CONFORMS)


def test_families_that_are_not_taught_have_no_story() -> None:
    story = clauses()["lifecycle.learned_mapping_survives"]
    verdict = search(story, family_named("opt"), Budget(), (), Lab("reference"))
    assert verdict.reasons == {"this family has no story": 1}
