"""Checks of training mode, of less than a clause looks at."""

from __future__ import annotations

from conformance.assertions.logits import agree
from conformance.core import relations
from conformance.core.case import Case
from conformance.runs.lab import Lab


def trained_forward(lab: Lab, case: Case) -> None:
    """The training forward answers the same in both modes; nobody looks at the gradient, or generates."""
    agree(lab.forward(relations.in_mode(case, "train")), lab.forward(case))
