"""Checks of how answers are decoded, which look at less of it."""

from __future__ import annotations

from conformance.assertions.decoding import processed_by_hand, same_answers, same_tokens
from conformance.clauses.preconditions import processed, sampled, searched
from conformance.core.case import Case
from conformance.core.decodings import DECODINGS
from conformance.oracles.sampling import sample
from conformance.runs.lab import Lab


def sampled_tokens(lab: Lab, case: Case) -> None:
    """The tokens are those that sampling by hand gives; nobody looks at what else was drawn."""
    (follow,) = sampled(case)
    got = lab.generate(follow)
    same_tokens(got, sample(got.logits, DECODINGS[follow.decoding], follow.seed).tokens, "another token was sampled")


def processed_tokens(lab: Lab, case: Case) -> None:
    """The answer is what processing by hand gives; nobody looks at what processors are given."""
    (follow,) = processed(case)
    processed_by_hand(lab.generate(follow), lab.request(follow))


def returned_answers(lab: Lab, case: Case) -> None:
    """The answers are those that a beam search by hand finds; nobody looks at their scores."""
    (follow,) = searched(case)
    same_answers(lab.generate(follow), lab.searched(follow))
