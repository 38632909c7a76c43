"""What the examples of a search add up to: the verdict of its item."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from conformance.clauses.registry import Clause
from conformance.core.finding import Finding, Verdict
from conformance.core.outcome import Outcome
from conformance.engine.controls import Example

UNDECISIVE = (Outcome.REFUSED, Outcome.UNDECIDED, Outcome.NOT_APPLICABLE)
"""The verdicts of an item in which nothing was decided: the first that occurred."""


class Counted(Protocol):
    """What a search has counted.

    ``counts`` are examples by outcome, ``known`` those that match an entry; ``reasons`` are those of all outcomes, ``excused``
    those of *not applicable* alone, of which ``base_fails`` are examples whose base model fails at the same request.
    """

    clause: Clause
    counts: Counter[str]
    known: Counter[str]
    reasons: Counter[str]
    excused: Counter[str]
    base_fails: int
    evidence: dict[str, Finding]


def verdict(state: Counted, ended: Example | None, needed: int, spent: float) -> Verdict:
    """The verdict of a search that ``ended`` with an example, or with none; *conforms* needs so many decisive ones."""
    decisive = state.counts[Outcome.CONFORMS.value]
    if ended is not None and ended.outcome is not Outcome.VIOLATES:
        state.reasons.setdefault(ended.reason or "the minimal Case of a violation did not violate again", 1)
    elif ended is None and 0 < decisive < needed and not state.known:
        state.reasons[f"only {decisive} decisive examples, {needed} needed"] += 1
    return Verdict(
        outcome=_outcome(state, ended, decisive, needed),
        counts=dict(state.counts),
        known=dict(state.known),
        reasons=dict(state.reasons),
        excused=dict(state.excused),
        base_fails=state.base_fails,
        finding=ended.finding if ended else None,
        evidence=tuple(state.evidence.values()),
        decisive=decisive,
        cpu_seconds=round(spent, 3),
    )


def _outcome(state: Counted, ended: Example | None, decisive: int, needed: int) -> Outcome:
    """Broken, violates, conforms, undecided if too few examples were decided; else refused, undecided, not applicable."""
    if ended is not None and ended.outcome is not Outcome.VIOLATES:
        return Outcome.BROKEN
    if state.counts[Outcome.VIOLATES.value]:
        return Outcome.VIOLATES
    if decisive >= needed:
        return Outcome.CONFORMS
    if decisive:
        return Outcome.UNDECIDED
    return next((outcome for outcome in UNDECISIVE if state.counts[outcome.value]), Outcome.NOT_APPLICABLE)
