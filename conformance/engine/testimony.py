"""The side of the witness, a process in which PEFT was never imported: how a control fares there."""

from __future__ import annotations

import sys

from conformance.engine.base_model import control_named
from conformance.engine.controls import run_clause
from conformance.engine.witness import PEFT, Question
from conformance.families import adopt


def testify(question: Question) -> bool:
    """The witness's side: whether the control holds here."""
    from conformance.runs.lab import Lab

    if question.family:
        adopt(question.family)
    holds = run_clause(control_named(question.control, question.clause), Lab(), question.case).holds
    if PEFT in sys.modules:
        raise RuntimeError("the witness has imported PEFT, and can no longer say what happens without it")
    return holds
