"""What is decoded by hand is what the base model's own generate decodes, without any prompt, in every family."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
import torch
from msgspec.structs import replace

from conformance.assertions.decoding import (
    processed_by_hand,
    searched_by_hand,
    something_guessed,
    stopped_by_hand,
    told_text_only,
)
from conformance.clauses.follow_ups import by_assistant, looked_up
from conformance.core.case import PAD, START, Case, Row
from conformance.core.decodings import DECODINGS
from conformance.core.relations import beam_searched, first_steps, in_double, with_decoding, without_prefix
from conformance.core.signals import NotApplicable
from conformance.engine.search import drawn
from conformance.families import family_named, flagships
from conformance.families.vocabulary import encode_text
from conformance.oracles.beams import Answer, Asked, Following, beam_search, score_of
from conformance.oracles.processing import answer, cut
from conformance.oracles.sampling import sample
from conformance.runs.lab import Lab
from conformance.runs.trace import Trace
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


@pytest.mark.parametrize("name", NAMES)
def test_answers_cut_by_hand_are_those_that_strings_end_in_the_base_model(name: str) -> None:
    lab, lengths = Lab("peft"), set[int]()
    for case in map(first_steps, bare_cases(name)):
        got = lab.generate(with_decoding(case, "stopped"))
        stopped_by_hand(got, lab.generate(case), lab.request(case))
        lengths |= {int((row != PAD).sum()) for row in got.tokens}
    assert {1, 3} <= lengths, "either none is ended by a string, or all are at once"


def test_an_answer_is_cut_behind_a_letter_or_behind_one_that_follows_the_text() -> None:
    text = torch.tensor([encode_text("ab"), encode_text("aa"), [*encode_text("a"), PAD]])
    answers = torch.tensor([encode_text("cdxe"), encode_text("bcde"), encode_text("ceaz")])
    left = cut(answers, text, ["x", "bc", "ac"], [])
    assert left.tolist() == [encode_text("c") + [PAD] * 3, encode_text("bc") + [PAD] * 2, encode_text("ceaz")]
    assert cut(answers[:1], text[:1], ["x", "q"], []).tolist() == [encode_text("cdx")]
    assert cut(answers[:1], text[:1], ["q"], encode_text("d")).tolist() == [encode_text("cd")]


@pytest.mark.parametrize("name", NAMES)
def test_prompt_lookup_of_the_base_model_is_greedy_and_saves_forwards(name: str) -> None:
    lab, saved = Lab("peft"), 0
    for (case,) in map(looked_up, bare_cases(name)):
        got = lab.generate(case)
        assert torch.equal(got.tokens, lab.generate(with_decoding(case, "plain")).tokens), case
        saved += case.new_tokens - len(got.forwards)
    assert saved > 0, "no guess was right"


@pytest.mark.parametrize("name", NAMES)
def test_with_an_assistant_the_base_model_is_greedy_and_saves_forwards(name: str) -> None:
    lab, saved = Lab("peft"), 0
    for (case,) in map(by_assistant, bare_cases(name)):
        got = lab.generate(case)
        assert torch.equal(got.tokens, lab.generate(with_decoding(case, "plain")).tokens), case
        saved += case.new_tokens - len(got.forwards)
    assert saved > 0, "no guess was right"


# -- beams ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_the_search_by_hand_is_that_of_the_base_model(name: str) -> None:
    lab, lengths = Lab("peft"), set[int]()
    for index, case in enumerate(map(first_steps, bare_cases(name))):
        # Whether the seed is odd decides between the two ways to search.
        asked = beam_searched(replace(case, seed=2 * (case.seed // 2) + index % 2))
        rows = lab.searched(asked)
        searched_by_hand(lab.generate(asked), rows)
        lengths.update(len(one.answer) for row in rows for one in row.found.best)
    assert len(lengths) > 1, "answers of one length show nothing of a penalty for length"


def tree(*branches: tuple[str, float]) -> Following:
    """What follows each answer, of five tokens, the last of which ends it: so much is said, all others are unlikely."""
    said = {tuple(map(int, answer)): chance for answer, chance in branches}

    def following(answer: Answer) -> torch.Tensor:
        return torch.tensor([math.log(said.get((*answer, token), 1e-6)) for token in range(5)], dtype=torch.float64)

    return following


END = 4
TREE = tree(
    ("0", 0.5), ("1", 0.3), ("4", 0.2), ("00", 0.4), ("01", 0.3), ("10", 0.9), ("14", 0.1), ("100", 0.9), ("000", 0.6)
)


def asked(**other: object) -> Asked:
    plain = Asked(beams=2, steps=3, returned=2, ends=frozenset({END}), penalty=1.0, early=False)
    return plain._replace(**other)  # type: ignore[arg-type]


def found(**other: object) -> list[Answer]:
    return [one.answer for one in beam_search(TREE, asked(**other)).best]


def test_one_beam_is_greedy_and_more_beams_find_what_that_misses() -> None:
    assert found(beams=1, returned=1) == [(0, 0, 0)]
    assert found() == [(1, 0, 0), (0, 0, 0)]


def test_an_end_counts_only_among_as_many_of_the_best_as_there_are_beams() -> None:
    assert (END,) not in found(returned=2, penalty=5.0, beams=2)
    assert (END,) in found(returned=3, beams=3, penalty=0.0)


def test_a_penalty_prefers_longer_answers() -> None:
    assert found(beams=3, returned=1, penalty=0.0) == [(1, 0, 0)]
    best = beam_search(TREE, asked(beams=3, returned=3, penalty=2.0)).best
    assert [len(one.answer) for one in best] == sorted((len(one.answer) for one in best), reverse=True)


def test_it_stops_early_when_there_are_enough_answers() -> None:
    quick = tree(("4", 0.7), ("0", 0.3), ("04", 0.9), ("00", 0.1), ("004", 0.9), ("000", 0.1))
    early = beam_search(quick, asked(early=True, steps=5))
    assert [one.answer for one in early.best] == [(END,), (0, END)]
    lengths: list[int] = []

    def noting(answer: Answer) -> torch.Tensor:
        lengths.append(len(answer))
        return quick(answer)

    beam_search(noting, asked(early=True, steps=5))
    assert max(lengths) == 1


def test_the_margin_is_that_of_the_closest_decision() -> None:
    close = tree(("0", 0.5), ("1", 0.3), ("2", 0.3 * (1 - 1e-9)), ("00", 0.4), ("10", 0.9))
    assert beam_search(close, asked(steps=2)).margin < 1e-8
    assert beam_search(TREE, asked()).margin > 1e-3


def test_the_score_of_an_answer_is_that_of_the_search() -> None:
    for one in beam_search(TREE, asked(penalty=0.5)).best:
        assert score_of(one.answer, TREE, asked(penalty=0.5)) == pytest.approx(one.score)


@pytest.mark.parametrize(
    ("text", "answer", "guessed"),
    [
        ([5, 6, 7], [8, 9, 10], False),
        ([5, 6, 7], [6, 9, 10], True),
        ([5], [8, 8, 9], False),
        ([5], [8, 8, 9, 10], True),
        ([5], [5], False),
        ([5, 5], [8, 9], True),
        ([5, 5], [8], False),
    ],
)
def test_a_guess_needs_a_token_that_stands_elsewhere_and_a_step_to_be_verified(
    text: list[int], answer: list[int], guessed: bool
) -> None:
    tokens = torch.tensor([answer])
    logits = torch.zeros(1, len(answer), 1)
    trace = Trace(Case(family="llama", new_tokens=len(answer)), tokens, logits, lambda: None)
    with nullcontext() if guessed else pytest.raises(NotApplicable):
        something_guessed(trace, {"input_ids": torch.tensor([text])})
