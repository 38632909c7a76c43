"""Checks of saving, loading and switching off, each of one way where a clause takes all."""

from __future__ import annotations

from msgspec.structs import replace

from conformance.assertions.logits import agree
from conformance.clauses.lifecycle import ANOTHER
from conformance.core import relations
from conformance.core.case import Case
from conformance.runs.lab import Lab


def disabled_in_forward(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() the forward is the base model's."""
    subject, bare = lab.subject(case), relations.without_prefix(case)
    with subject.disabled():
        agree(lab.forward_on(subject, bare), lab.forward(bare))


def disabled_in_generate(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() generate is the base model's."""
    subject, bare = lab.subject(case), relations.without_prefix(case)
    with subject.disabled():
        agree(lab.generate_on(subject, bare), lab.generate(bare))


def loaded_here(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, the adapter gives the same answer."""
    agree(lab.generate_on(lab.reloaded(case), case), lab.generate(case))


def loaded_here_unprojected(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, an adapter without projection gives the same answer."""
    loaded_here(lab, replace(case, prefix=replace(case.prefix, projection=0)))


def loaded_here_unfrozen(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, an adapter of which nothing is frozen gives the same answer."""
    loaded_here(lab, replace(case, prefix=replace(case.prefix, frozen=0)))


def loaded_beside(lab: Lab, case: Case) -> None:
    """Loaded into a live model under another name, and switched to, the saved values answer."""
    live = lab.new_subject(relations.other_prefix(case))
    live.load_live(lab.saved_folder(case), ANOTHER)
    live.switch(ANOTHER)
    agree(lab.generate_on(live, case), lab.generate(case))
