"""What cannot work is refused, and leaves no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.lifecycle import as_before
from conformance.clauses.registry import clause
from conformance.core.signals import violation

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

NOBODY = "nobody"
"""What no adapter is called."""


@clause(sources=("huggingface/peft#798", "huggingface/peft#800"), control="runs")
def never_partial(lab: Lab, case: Case) -> None:
    """After a request, a switch or a loading that failed the model has the adapters that it had, and answers as before.

    The request is for no tokens, the switch to an adapter that is not there, and half of the file is missing that is loaded.
    """
    live = lab.new_subject(case)
    before, names = live.contents(), live.adapters()
    lab.fail_in_every_way(live, case, NOBODY)
    if live.adapters() != names:
        raise violation("the adapters after calls that failed", live.adapters(), names)
    as_before(lab, live, case, before, "calls that failed")
