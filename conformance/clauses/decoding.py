"""Decoding acts on real tokens, and calls are independent of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.lengths import ends_as_told, text_and_answer
from conformance.assertions.logits import agree, identical
from conformance.clauses.preconditions import limits
from conformance.clauses.registry import clause
from conformance.core.relations import told_by_tokens
from conformance.core.sources import GENERATION_DOC

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/peft#169", "huggingface/peft#1502"))
def repeatable(lab: Lab, case: Case) -> None:
    """The same call twice gives the same answer to the bit, whatever was called in between."""
    identical(lab.again(case), lab.generate(case).steps(3), "the second call answers otherwise")


@clause(sources=(GENERATION_DOC, "huggingface/transformers#23552"), follow_ups=limits)
def lengths_count_text_only(lab: Lab, case: Case) -> None:
    """Lengths count real tokens: max_length and min_length those of text and answer, which are also returned, and streamed.

    max_length gives the answer that max_new_tokens gives. Where most tokens end an answer, min_length and min_new_tokens hold
    them back until the last step. Of an encoder-decoder the decoder's text is counted, which is one start token.
    """
    got, plain = lab.generate(case), lab.generate(told_by_tokens(case))
    agree(got.steps(1) if case.ends else got, plain.steps(1) if case.ends else plain, "another limit, another answer")
    if case.ends:
        ends_as_told(got)
    text_and_answer(lab, got)
