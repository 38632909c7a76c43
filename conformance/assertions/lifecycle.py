"""Assertions on models that hold several adapters, or from which something was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import identical
from conformance.core.relations import first_steps
from conformance.core.signals import violation

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace


def answers_as_alone(lab: Lab, subject: Subject, case: Case, alone: Trace, which: str) -> None:
    """The active adapter of ``subject`` answers to the bit as a model that has no other, in generate and in forward.

    ``case`` is that of the adapter, ``alone`` the first step of such a model's generate, ``which`` names the adapter.
    """
    identical(
        lab.generate_on(subject, first_steps(case, 1)), alone, f"{which} answers otherwise than alone in generate"
    )
    got, expected = lab.forward_on(subject, case), lab.forward(case)
    identical(got, expected, f"{which} answers otherwise than alone in forward")
    # As text, so that a loss that is not a number equals itself.
    if repr(got.loss) != repr(expected.loss):
        raise violation(f"the loss of forward with {which}", got.loss, expected.loss)
