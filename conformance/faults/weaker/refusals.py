"""Checks of calls that cannot work, each of one way where a clause takes all."""

from __future__ import annotations

from conformance.assertions.logits import agree
from conformance.core.case import Case
from conformance.core.relations import asked_wrongly, first_steps
from conformance.runs.lab import Lab
from conformance.runs.stopping import must_fail


def as_before_a_refused_request(lab: Lab, case: Case) -> None:
    """After a request for no tokens the model answers as before."""
    live = lab.new_subject(case)
    must_fail("generate", lambda: live.generate(**lab.request(case), max_new_tokens=0))
    agree(lab.generate_on(live, case), lab.generate(case))


def a_length_is_asked_for(lab: Lab, case: Case) -> None:
    """Who does not say how many virtual tokens there are gets an error."""
    must_fail("generate", lambda: lab.generate(asked_wrongly(first_steps(case, 1), "no_length")))


def an_unknown_value_ends_in_an_error(lab: Lab, case: Case) -> None:
    """Who tells a setting what it cannot be gets an error, whatever it says, and whenever."""
    must_fail("generate", lambda: lab.generate(asked_wrongly(first_steps(case, 1), "unknown_value")))
