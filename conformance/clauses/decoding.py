"""Decoding acts on real tokens, and calls are independent of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.clauses.registry import clause

if TYPE_CHECKING:
    from conformance.case import Case
    from conformance.lab import Lab


@clause(sources=("huggingface/peft#2096",))
def repeatable(lab: Lab, case: Case) -> None:
    """The same call twice gives the same answer to the bit, whatever was called in between."""
    from conformance.compare import identical
    from conformance.relations import same_rows

    subject, first = lab.new_subject(case), lab.generate(case)
    between = same_rows(case, len(case.rows) + 1)
    lab.generate_on(subject, between)
    lab.forward_on(subject, between)
    identical(lab.generate_on(subject, case), first, "the calls before, of other texts, have changed the answer")
    identical(lab.generate_on(subject, case), first, "the second call answers otherwise")
