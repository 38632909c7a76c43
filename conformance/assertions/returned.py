"""Assertions on what generate returns beside tokens and logits: scores, hidden states and attentions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from conformance.assertions.logits import NOT_A_NUMBER
from conformance.core.finding import Difference
from conformance.core.relations import without_prefix
from conformance.core.signals import Undecided, Violation, violation
from conformance.runs.tolerance import CLEAR, ERROR_CAP, ERROR_FACTOR, ERROR_FLOOR

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.lab import Lab
    from conformance.runs.trace import Trace


def scores_are_logits(got: Trace) -> None:
    """Where nothing is processed, the scores of each step are its logits."""
    import torch

    scores = got.returned.get("scores", ())
    if len(scores) != got.logits.shape[1]:
        raise violation("steps that have scores", len(scores), got.logits.shape[1])
    if not torch.equal(torch.stack([step.cpu() for step in scores], dim=1), got.logits):
        raise violation("scores of an answer that nothing processes", "others", "the logits")


def returned_by_hand(lab: Lab, got: Trace) -> None:
    """Hidden states and attentions of text and answer are those of the base model with the virtual tokens in front."""
    from conformance.runs.returned import returned_of

    for row, expected in enumerate(lab.returned(got.case, got.tokens)):
        seen = returned_of(got, row)
        for name, right in expected.items():
            _same_field(lab, got, row, name, seen[name], right)


def _same_field(lab: Lab, got: Trace, row: int, name: str, seen: Tensor, right: Tensor) -> None:
    """One field of one row, ``(positions, ...)``, agrees as logits would."""
    if seen.shape != right.shape:
        raise violation(f"the shape of the {name}", tuple(seen.shape), tuple(right.shape), row=row)
    apart = (seen.double() - right.double()).abs().flatten(1).amax(1)
    spread = float(right.amax() - right.amin())
    # Written so that a NaN fails, and an infinite spread excuses nothing.
    if math.isfinite(spread) and bool((apart <= ERROR_FLOOR * spread).all()):
        return
    error = max(_error(lab, got, name), ERROR_FLOOR * spread)
    if error > ERROR_CAP * spread:
        raise Undecided("two right computations are too far apart to say")
    if bool((apart <= error).all()):
        return
    beyond = (~(apart <= CLEAR * error)).nonzero()
    if not len(beyond):
        raise Undecided(f"a difference of {float(apart.max()):.3g} is within {CLEAR:g} errors of {error:.3g}")
    raise Violation(_difference(row, name, int(beyond[0]), seen, right, error))


def _error(lab: Lab, got: Trace, name: str) -> float:
    """How far two right computations of that field may be apart: measured on the base model alone, as of logits."""
    bare = without_prefix(got.case)
    one, other = (lab.returned(bare, got.tokens, stepwise) for stepwise in (False, True))
    apart = [float((a[name] - b[name]).abs().max()) for a, b in zip(one, other, strict=True)]
    return ERROR_FACTOR * max(apart)


def _difference(row: int, name: str, position: int, seen: Tensor, right: Tensor, error: float) -> Difference:
    got, expected = seen[position].double().flatten(), right[position].double().flatten()
    apart = (got - expected).abs().nan_to_num(nan=NOT_A_NUMBER, posinf=NOT_A_NUMBER)
    worst = int(apart.argmax())
    return Difference(
        what=f"{name} of text and answer differ",
        got=f"position {position}: {float(got[worst]):.5f}",
        expected=f"{float(expected[worst]):.5f}",
        row=row,
        margin=float(apart[worst]),
        error=error,
    )
