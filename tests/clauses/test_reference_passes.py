"""The reference subject passes every clause, on the boundary Case of each stratum. (That each clause fails on it with its
fault is in tests/faults; what is claimed of placed models is judged in tests/placement/chapter, where there are devices.)
"""

from __future__ import annotations

import itertools

import pytest

from conformance.clauses import Clause, clauses
from conformance.core.finding import DEFAULT_METHOD
from conformance.core.outcome import Outcome
from conformance.core.relations import without_prefix
from conformance.engine.controls import run
from conformance.engine.known import load, shipped
from conformance.engine.search import Budget, search
from conformance.families import family_named
from conformance.methods import METHODS, method_named
from conformance.runs.lab import Lab

NAMES = ("llama", "gpt2", "t5", "gemma3")
STORIES = ("llama", "qwen2", "gpt2", "t5")
CHECKED = {id: found for id, found in clauses().items() if not (found.fixed_case or found.placed)}
SILENT = {
    ("caches.chunked_prefill", "t5"),
    ("caches.continued", "t5"),
    ("caches.window_edge", "gpt2"),
    ("caches.window_edge", "llama"),
    ("caches.window_edge", "t5"),
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
    ("training.types_count", "gemma3"),
    ("training.types_count", "llama"),
    ("training.types_count", "t5"),
}
"""Items that say nothing, each for a reason that lies in the family."""
OF_THE_CACHE = {"injection.present", "injection.faithful", "injection.order_free"}
"""Clauses that say nothing of embeddings."""
EXPLAINED = {
    "PROMPT_TUNING": {"prompt-of-a-disabled-adapter"},
    "P_TUNING": {"prompt-of-a-disabled-adapter"},
    "MULTITASK_PROMPT_TUNING": {"prompt-of-a-disabled-adapter", "prompt-of-tasks-for-the-decoder"},
}
"""What explains that PEFT's prompt of an encoder-decoder does not learn, or does not go away."""
OF_ENCODERS = {"prompt-of-tasks-for-the-decoder"}
TRAINED = {
    "P_TUNING": {"checkpoint-without-the-network"},
    "MULTITASK_PROMPT_TUNING": {"trainer-drops-tasks", *OF_ENCODERS},
    "CPT": {"trainer-drops-types", "checkpoint-without-the-deltas"},
}
"""What explains that a Trainer does not train, or does not resume; some of it of encoder-decoders only."""
LOST = {"decoder-ids-of-tasks-are-lost", *OF_ENCODERS}
IN_FRONT = {"smoothing-counts-virtual-tokens"}
SMOOTHED = {
    "PREFIX_TUNING": {"smoothing-asks-another-model"},
    "CARTRIDGE": {"smoothing-asks-another-model"},
    "PROMPT_TUNING": {"smoothing-asks-another-model", *IN_FRONT},
    "P_TUNING": {"smoothing-asks-another-model", *IN_FRONT},
    "MULTITASK_PROMPT_TUNING": {"smoothing-asks-another-model", "trainer-drops-tasks", *IN_FRONT, *LOST},
}
"""What explains that a Trainer smooths no labels, or the wrong ones; some of it where logits are in front of the text's only."""
OF_PROJECTIONS = {"lifecycle.inference_mode"}
"""Clauses that say nothing of a method whose parameters are what is read."""
BEGIN_AT_RANDOM = {("llama", "P_TUNING"), ("t5", "P_TUNING"), ("t5", "CARTRIDGE"), ("llama", "CPT"), ("t5", "CPT")}
"""Items in which nothing else than to begin at random can be told."""

FEW = ("llama", "t5")
"""Families for the other methods than the first, which differ in how they make virtual tokens: the night has all."""
JUDGED = [
    (name, method) for name, method in itertools.product(NAMES, METHODS) if method == DEFAULT_METHOD or name in FEW
]


@pytest.fixture(scope="module", params=JUDGED, ids="/".join)
def lab(request: pytest.FixtureRequest) -> tuple[str, str, Lab]:
    """One lab per family and method, so that the clauses share their runs as they do in a real run."""
    return *request.param, Lab("reference")


@pytest.mark.parametrize("clause", CHECKED.values(), ids=CHECKED)
def test_the_reference_subject_passes(lab: tuple[str, str, Lab], clause: Clause) -> None:
    name, method, its = lab
    verdict = search(clause, family_named(name), Budget(examples=1), (), its, method)
    embedded = method_named(method).acts_on == "embeddings" and clause.id in OF_THE_CACHE
    unprojected = "projection" not in method_named(method).varied and clause.id in OF_PROJECTIONS
    untold = clause.id == "lifecycle.initialised_as_told" and (name, method) in BEGIN_AT_RANDOM
    served = not method_named(method).cannot(family_named(name))
    silent = embedded or unprojected or untold or (clause.id, name) in SILENT or not served
    expected = Outcome.NOT_APPLICABLE if silent else Outcome.CONFORMS
    assert verdict.outcome is expected, verdict.finding or verdict.reasons
    assert not {"violates", "refused", "undecided", "broken harness"} & set(verdict.counts), verdict.reasons


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("maker", ["reference", "peft"])
def test_the_answer_is_learnt_and_survives(maker: str, method: str) -> None:
    """Known failures explain what does not: PEFT's prompts of an encoder-decoder."""
    story = clauses()["lifecycle.learned_mapping_survives"]
    for name in STORIES if method == DEFAULT_METHOD else FEW:
        verdict = search(story, family_named(name), Budget(), load(shipped()), Lab(maker), method)
        served = not method_named(method).cannot(family_named(name))
        known = EXPLAINED.get(method, set()) if (maker, name) == ("peft", "t5") else set()
        assert (set(verdict.known), verdict.finding) == (known, None), name
        assert known or verdict.outcome is (Outcome.CONFORMS if served else Outcome.NOT_APPLICABLE), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("maker", ["reference", "peft"])
def test_a_trainer_arrives_where_a_loop_by_hand_does(maker: str, method: str) -> None:
    trained = clauses()["training.trainer_agrees"]
    for name in FEW:
        verdict = search(trained, family_named(name), Budget(), load(shipped()), Lab(maker), method)
        served = not method_named(method).cannot(family_named(name))
        judged = maker == "peft" and served
        known = TRAINED.get(method, set()) - (set() if name == "t5" else OF_ENCODERS) if judged else set()
        assert (set(verdict.known), verdict.finding) == (known, None), name
        assert known or verdict.outcome is (Outcome.CONFORMS if served else Outcome.NOT_APPLICABLE), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("maker", ["reference", "peft"])
def test_a_trainer_smooths_labels_as_by_hand(maker: str, method: str) -> None:
    smooths = clauses()["training.smoothing_agrees"]
    for name in FEW:
        verdict = search(smooths, family_named(name), Budget(), load(shipped()), Lab(maker), method)
        case = smooths.own_case(family_named(name), method)
        served = case and not method_named(method).cannot(family_named(name)) and not smooths.missing(case)
        known = SMOOTHED.get(method, set()) - (IN_FRONT if name == "t5" else LOST) if maker == "peft" else set()
        assert (set(verdict.known), verdict.finding) == (known, None), name
        assert known or verdict.outcome is (Outcome.CONFORMS if served else Outcome.NOT_APPLICABLE), name


@pytest.mark.parametrize("name", STORIES)
def test_a_trainer_smooths_labels_of_the_base_model_as_by_hand(name: str) -> None:
    smooths = clauses()["training.smoothing_agrees"]
    case = smooths.own_case(family_named(name), DEFAULT_METHOD)
    assert case
    assert run(smooths, Lab(), without_prefix(case)).outcome is Outcome.CONFORMS


def test_families_that_are_not_taught_have_no_story() -> None:
    story = clauses()["lifecycle.learned_mapping_survives"]
    verdict = search(story, family_named("opt"), Budget(), (), Lab("reference"))
    assert verdict.reasons == {"this family has no story": 1}
