"""Checks of calls that cannot work, each of one way where a clause takes all."""

from __future__ import annotations

from conformance.assertions.logits import agree
from conformance.core.case import Case
from conformance.runs.lab import Lab
from conformance.runs.stopping import must_fail


def as_before_a_refused_request(lab: Lab, case: Case) -> None:
    """After a request for no tokens the model answers as before."""
    live = lab.new_subject(case)
    must_fail("generate", lambda: live.generate(**lab.request(case), max_new_tokens=0))
    agree(lab.generate_on(live, case), lab.generate(case))
