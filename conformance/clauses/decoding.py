"""Decoding acts on real tokens, and calls are independent of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.decoding import sampled_by_hand
from conformance.assertions.logits import agree, identical
from conformance.clauses.preconditions import sampled
from conformance.clauses.registry import clause
from conformance.core.sources import GENERATION_DOC
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/peft#169", "huggingface/peft#1502"))
def repeatable(lab: Lab, case: Case) -> None:
    """The same call twice gives the same answer to the bit, whatever was called in between."""
    identical(lab.again(case), lab.generate(case).steps(3), "the second call answers otherwise")


@clause(sources=(GENERATION_DOC,), follow_ups=sampled)
def sampling(lab: Lab, case: Case) -> None:
    """Seeded sampling answers what sampling by hand from the manual forward's logits answers, with as many random numbers.

    The source says what is sampled from; that a wrapper draws no random number of its own, so that a seed means the same with and
    without it, is our own claim.
    """
    got = lab.generate(case)
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens))
    sampled_by_hand(got)
