"""Whatever a user does with a model, one thing after the other, what was trained is what answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.sessions import Course, at_step
from conformance.clauses.preconditions import told
from conformance.clauses.registry import clause
from conformance.core.sources import PEFT_MODEL_DOC

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=(PEFT_MODEL_DOC, "huggingface/peft#169"), requires=(told,), stories=3, decisive=2)
def story(lab: Lab, case: Case) -> None:
    """After every step of a session the model has the adapters that it should have, and whoever is active answers, or learns.

    Steps generate (greedily, sampled, with beams, by prompt lookup), go on from a cache, train, save, load, resume, add, switch,
    delete, switch off and on, raise and interrupt. A simple model says what there should be. After each step the adapters, their
    values, and which is active are looked at, which asks nothing of the model; answers are the manual forward's with them.
    """
    with lab.session(case) as session:
        course = Course(lab, case, session)
        for number, step in enumerate(case.story):
            with at_step(number):
                course.take(step)
