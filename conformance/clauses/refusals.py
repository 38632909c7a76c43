"""What cannot work is refused, and leaves no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.lifecycle import as_before
from conformance.assertions.refusals import refused_or_honoured
from conformance.clauses.follow_ups import wrongly_asked
from conformance.clauses.preconditions import something_wrong
from conformance.clauses.registry import clause
from conformance.core.signals import violation

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

NOBODY = "nobody"
"""What no adapter is called."""


@clause(
    sources=("huggingface/peft#2210", "huggingface/peft#1192", "huggingface/peft#662"),
    requires=(something_wrong,),
    follow_ups=wrongly_asked,
    control="runs",
)
def in_words(lab: Lab, case: Case) -> None:
    """What cannot work is refused before any output, in words that name what is wrong; an answer has the virtual tokens in it.

    Nobody says how many virtual tokens there are, or for which task; the task has no generate, or is that of other models; a
    setting is a word that no document has, or lacks the one that it needs; or what the method needs beside the text is
    missing. Where only the task is wrong, the right answer will do. An error that names something else is *misleading*.
    """
    refused_or_honoured(lab, case)


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
