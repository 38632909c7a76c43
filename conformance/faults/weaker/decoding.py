"""Checks of how answers are decoded, which look at less of it."""

from __future__ import annotations

from conformance.assertions.decoding import cut_by_hand, processed_by_hand, same_answers, same_tokens
from conformance.assertions.logits import agree
from conformance.clauses.follow_ups import all_returned, by_assistant, processed, sampled, searched, stopped
from conformance.core.case import Case
from conformance.core.decodings import DECODINGS
from conformance.core.relations import with_attention, with_decoding
from conformance.core.signals import violation
from conformance.oracles.sampling import sample
from conformance.oracles.table import handmade_cache
from conformance.runs.lab import Lab
from conformance.runs.returned import returned_of


def sampled_tokens(lab: Lab, case: Case) -> None:
    """The tokens are those that sampling by hand gives; nobody looks at what else was drawn."""
    (follow,) = sampled(case)
    got = lab.generate(follow)
    same_tokens(got, sample(got.logits, DECODINGS[follow.decoding], follow.seed).tokens, "another token was sampled")


def processed_tokens(lab: Lab, case: Case) -> None:
    """The answer is what processing by hand gives; nobody looks at what processors are given."""
    (follow,) = processed(case)
    processed_by_hand(lab.generate(follow), lab.request(follow))


def never_too_early(lab: Lab, case: Case) -> None:
    """No answer ends before the first string that may end it; nobody looks at whether one ends too late."""
    (follow,) = stopped(case)
    got, plain = lab.generate(follow), lab.generate(with_decoding(follow, "plain"))
    steps, least = got.tokens.shape[1], cut_by_hand(plain, lab.request(follow)).shape[1]
    if steps < least:
        raise violation("steps until a string has ended every row", steps, least)


def assisted_first_tokens(lab: Lab, case: Case) -> None:
    """With an assistant the first token's logits are those of the manual forward; nobody looks at what follows its guesses."""
    (follow,) = by_assistant(case)
    got = lab.generate(follow)
    agree(got.steps(1), lab.predict(follow, handmade_cache, tokens=got.tokens).steps(1))


def returned_answers(lab: Lab, case: Case) -> None:
    """The answers are those that a beam search by hand finds; nobody looks at their scores."""
    (follow,) = searched(case)
    same_answers(lab.generate(follow), lab.searched(follow))


def shapes_of_returned(lab: Lab, case: Case) -> None:
    """Scores, hidden states and attentions have the shapes that they should have; nobody looks at their values."""
    (follow,) = all_returned(with_attention(case, "eager"))
    got = lab.generate(follow)
    for row, expected in enumerate(lab.returned(follow, got.tokens)):
        for name, seen in returned_of(got, row).items():
            if seen.shape != expected[name].shape:
                raise violation(f"the shape of the {name}", tuple(seen.shape), tuple(expected[name].shape), row=row)
