"""A process in which PEFT was never imported, asked before an example is excused because the base model fails by itself.

PEFT patches what it wraps, and may patch more: a control that fails in the process that PEFT has been at work in does not
show that transformers fails. The witness is a fork of the process that judges, made before that process imports PEFT, so that
it costs next to nothing until it is asked; where there is no fork, it is a child as any other.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from msgspec import Struct

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.finding import Finding
from conformance.families import Family, foreign
from conformance.worker.child import Child
from conformance.worker.fork import Fork

PEFT = "peft"
TESTIFY = "conformance.engine.testimony:testify"
"""The function that the witness answers with."""


class Question(Struct, frozen=True, kw_only=True):
    """How a control fares that is called ``control``, of ``clause``, on the base model of ``case``."""

    control: str
    clause: str
    case: Case
    family: Family | None = None


class FailedControl(NamedTuple):
    """In which words a control failed: what the witness is asked about once."""

    family: str
    control: str
    words: str
    placed: bool


_witness: list[Child] = []
_answers: dict[FailedControl, bool] = {}


def start() -> None:
    """Start the witness of this process. Too late once PEFT is imported here."""
    if not _witness and PEFT not in sys.modules:
        _witness.append(Fork() if hasattr(os, "fork") and sys.platform == "linux" else Child())


def contradicts(control: Clause, clause: Clause, case: Case, words: str) -> bool:
    """Whether the ``control``, which failed here in these ``words``, holds for the witness. Asked once for the same words.

    A process without a witness, in which somebody uses a lab by hand, has nothing to hold against its own control.
    """
    failure = FailedControl(case.family, control.id, words, case.placed)
    if _witness and failure not in _answers:
        question = Question(control=control.id, clause=clause.id, case=case, family=foreign(case.family))
        _answers[failure] = _witness[0].call(TESTIFY, question, bool)
    return _answers.get(failure, False)


def words_of(reason: str, finding: Finding | None) -> str:
    """In which words a control failed."""
    if finding is None:
        return reason
    return f"{finding.how.value}: {finding.difference.what}: {finding.where or finding.difference.got}"
