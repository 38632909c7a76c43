"""Assertions on the positions that a base model was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.core.case import Case
from conformance.core.signals import NotApplicable, Undecided, Violation, violation
from conformance.families import family_named
from conformance.methods import method_named

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.lab import Lab
    from conformance.runs.trace import Forward, Trace


def text_positions(case: Case, forward: Forward) -> list[Tensor]:
    """For each row the positions of its real tokens in a forward over the whole batch."""
    from conformance.families.inputs.text import padding_mask

    family = family_named(case.family)
    if family.anatomy.positions == "none":
        raise NotApplicable(f"{family.name} has no positions")
    if forward.positions is None:
        raise Undecided("nobody saw which positions the base model was asked for")
    positions = forward.positions.expand(len(case.rows), -1)
    real = padding_mask(case).bool()
    embedded = read_in_front(case)
    if positions.shape[1] != embedded + real.shape[1]:
        raise violation("positions in the first forward", positions.shape[1], embedded + real.shape[1])
    return [positions[row, embedded:][real[row]] for row in range(len(case.rows))]


def read_in_front(case: Case) -> int:
    """How many virtual tokens the decoder reads in front of the text in its first forward; those in the cache it does not."""
    method = method_named(case.method)
    return 0 if method.acts_on == "cache" else method.in_front(case)


def starts_at_n(case: Case, trace: Trace, path: str) -> None:
    """In the first forward each text's positions are n, n + 1, ...; in every later one the next."""
    n = case.prefix.length
    for row, positions in enumerate(text_positions(case, trace.forwards[0])):
        expected = list(range(n, n + len(positions)))
        if positions.tolist() != expected:
            raise violation(f"positions of the text in {path}", positions.tolist(), expected, row=row)
    for step, forward in enumerate(trace.forwards[1:], start=1):
        if forward.positions is not None:
            seen = forward.positions.expand(len(case.rows), -1)[:, -1].tolist()
            expected = [n + row.length + step - 1 for row in case.rows]
            if seen != expected:
                raise violation(f"positions of the new tokens in {path}", seen, expected, step=step)


def requires_position_ids(lab: Lab, case: Case) -> None:
    """Not applicable where the base model's forward has no ``position_ids``."""
    from conformance.families.build import parameters_of_forward

    if "position_ids" not in parameters_of_forward(lab.base(case)):
        raise NotApplicable("the base model takes no position_ids")


def base_skips_pads(lab: Lab, case: Case) -> bool:
    """Whether the base model's forward, given only a mask, gives its text the positions 0, 1, ..."""
    try:
        starts_at_n(case, lab.forward(case), "forward")
    except Violation:
        return False
    return True
