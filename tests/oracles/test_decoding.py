"""What is decoded by hand is what the base model's own generate decodes, without any prompt, in every family."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from conformance.assertions.decoding import processed_by_hand, told_text_only
from conformance.core.case import START, Case, Row
from conformance.core.decodings import DECODINGS
from conformance.core.relations import first_steps, in_double, with_decoding, without_prefix
from conformance.engine.search import drawn
from conformance.families import family_named, flagships
from conformance.oracles.processing import answer
from conformance.oracles.sampling import sample
from conformance.runs.lab import Lab
from conformance.strategies import strata

NAMES = tuple(flagships())
SAMPLED = DECODINGS["sampled"]


def bare_cases(name: str) -> list[Case]:
    """A Case of every stratum without a prompt or pads, of those that the base model of transformers can generate with."""
    found = [without_prefix(drawn(name, stratum, 0)) for stratum in strata(family_named(name), 1, 0)]
    fit = [case for case in found if not 0 < case.roles.encoder_layers < case.roles.layers]
    return [replace(case, rows=tuple(Row(length=case.longest, seed=row.seed) for row in case.rows)) for case in fit]


def processed(case: Case) -> Case:
    return with_decoding(first_steps(case), "processed")


@pytest.mark.parametrize("name", NAMES)
def test_sampling_by_hand_is_that_of_the_base_model(name: str) -> None:
    lab, others, bare = Lab("peft"), 0, bare_cases(name)
    for case in (*bare, *map(in_double, bare)):
        got = lab.generate(with_decoding(case, "sampled"))
        by_hand = sample(got.logits, SAMPLED, case.seed)
        assert torch.equal(by_hand.tokens, got.tokens), case
        assert got.random is not None
        assert torch.equal(by_hand.random, got.random), case
        others += int((got.tokens != got.logits.argmax(-1)).sum())
    assert others > 10, "it is hardly sampled, if the best token is always taken"


def test_another_seed_and_another_limit_sample_other_tokens() -> None:
    logits = torch.randn(2, 20, 97, generator=torch.Generator().manual_seed(0))
    tokens = sample(logits, SAMPLED, 0).tokens
    assert not torch.equal(tokens, sample(logits, SAMPLED, 1).tokens)
    for other in ({"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.3}):
        assert not torch.equal(tokens, sample(logits, {**SAMPLED, **other}, 0).tokens), other


def test_a_call_that_samples_leaves_the_random_numbers_of_others_alone() -> None:
    case = bare_cases("llama")[0]
    before = torch.get_rng_state()
    first = Lab("peft").generate(with_decoding(case, "sampled"))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.tokens, Lab("peft").generate(with_decoding(case, "sampled")).tokens)
    assert Lab("peft").generate(replace(case, decoding="plain")).random is None


@pytest.mark.parametrize("name", NAMES)
def test_processing_by_hand_is_that_of_the_base_model(name: str) -> None:
    lab, bare = Lab("peft"), bare_cases(name)
    for case in map(processed, (*bare, *map(in_double, bare))):
        got = lab.generate(case)
        told_text_only(got, lab.request(case))
        processed_by_hand(got, lab.request(case))


NOTHING_ASKED = {
    "encoder_repetition_penalty": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 99,
    "min_new_tokens": 0,
    "eos_token_id": [],
    "forced_eos_token_id": slice(None),
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
}
"""For each argument what is as good as not asking for it."""


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_every_processor_changes_some_answer(name: str) -> None:
    lab, changed = Lab("reference"), set()
    for case in map(processed, (drawn(name, stratum, 0) for stratum in strata(family_named(name), 1, 0))):
        got, text = lab.generate(case), lab.request(case)["input_ids"]
        begun = torch.full((len(text), 1), START) if case.roles.encoder_layers else text
        for argument, nothing in NOTHING_ASKED.items():
            asked = {**DECODINGS["processed"], argument: nothing}
            if not torch.equal(answer(got.logits, begun, text, case.new_tokens, asked), got.tokens):
                changed.add(argument)
    assert changed == set(NOTHING_ASKED) == set(DECODINGS["processed"])
