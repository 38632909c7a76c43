"""Checks of training mode, of less than a clause looks at."""

from __future__ import annotations

from conformance.assertions.learning import only_the_adapter_learns, thaw
from conformance.assertions.logits import agree
from conformance.core import relations
from conformance.core.case import Case
from conformance.runs.lab import Lab


def trained_forward(lab: Lab, case: Case) -> None:
    """The training forward answers the same in both modes; nobody looks at the gradient, or generates."""
    agree(lab.forward(relations.in_mode(case, "train")), lab.forward(case))


def frozen_after_wrapping(lab: Lab, case: Case) -> None:
    """After wrapping, only the adapter's parameters require a gradient; nobody trains."""
    only_the_adapter_learns(lab.new_subject(case, before=thaw), "after wrapping")


def checkpointed_forward(lab: Lab, case: Case) -> None:
    """With gradient checkpointing the training forward answers as without; nobody looks at the gradient."""
    agree(lab.forward(relations.checkpointed(case, "after")), lab.forward(case))
