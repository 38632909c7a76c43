"""Decoding acts on real tokens, and calls are independent of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import identical
from conformance.clauses.registry import clause

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/peft#169", "huggingface/peft#1502"))
def repeatable(lab: Lab, case: Case) -> None:
    """The same call twice gives the same answer to the bit, whatever was called in between."""
    identical(lab.again(case), lab.generate(case).steps(3), "the second call answers otherwise")
