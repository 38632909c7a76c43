"""Known means explained: a violation is known only if the same Case conforms with the mends of what it resembles in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from conformance.clauses.registry import Clause
from conformance.core.outcome import Outcome
from conformance.engine.controls import Example, confirm, controlled, run
from conformance.engine.known import KnownFailure
from conformance.mends import in_force, mended

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

Entries = tuple[KnownFailure, ...]


@contextmanager
def with_mends(lab: Lab, entries: Iterable[KnownFailure], names: tuple[str, ...] = ()) -> Iterator[Lab]:
    """Within the block the mends of ``entries`` are in force, and the lab beside ``lab`` that is given runs under them.

    ``names`` is what reports say is mended, where that is shorter than the ids of the entries.
    """
    mends = {entry.id: entry.mend for entry in entries if entry.mend}
    if not mends:
        yield lab
        return
    with in_force(mends):
        yield lab.beside(mended(lab.maker, mends, names or tuple(mends)))


def seen(clause: Clause, lab: Lab, case: Case, entries: Entries) -> Example:
    """What ``case`` shows: if it is a known violation by what, else what is left when all that it resembles is mended."""
    return explained(clause, lab, run(clause, lab, case), entries)


def controlled_as_seen(clause: Clause, lab: Lab, example: Example, entries: Entries, *, confirmed: bool) -> Example:
    """An example of :func:`seen`; a violation that nothing explains is held against its control, and perhaps confirmed.

    With what was mended when it was seen, and in the same lab, or one that remembers nothing.
    """
    if example.known or example.finding is None:
        return example
    mended_then = [entry for entry in entries if entry.id in example.finding.mended]
    with with_mends(lab, mended_then) as there:
        held = controlled(clause, there, example)
        return confirm(clause, there, held) if confirmed else held


def explained(clause: Clause, lab: Lab, example: Example, entries: Entries) -> Example:
    """``example``, with the known failures that explain it, if they do; else what is seen with all that it resembles mended.

    What is seen with mends in force may resemble further entries, which are then mended, too. A refusal under the mends explains
    nothing: then the violation stands as it was. Where the claim turns out to say nothing, that is what is left.
    """
    tried, left = _mended(clause, lab, example, entries)
    if not tried or left.outcome is Outcome.VIOLATES:
        return left
    if left.outcome is Outcome.REFUSED:
        return example
    return replace(left, reason=f"with {', '.join(entry.id for entry in tried)} mended: {left.reason}")


def _mended(clause: Clause, lab: Lab, example: Example, entries: Entries) -> tuple[Entries, Example]:
    """The entries whose mends were put in force, one nomination after the other, and what was seen in the end."""
    tried: Entries = ()
    left = example
    while new := tuple(
        entry for entry in entries if entry not in tried and left.finding and entry.resembles(left.finding)
    ):
        for some in dict.fromkeys([*((one,) for one in new), new]):
            in_force = (*tried, *some)
            with with_mends(lab, in_force) as there:
                left = run(clause, there, example.case)
            # Of an entry without a mend its words are the proof.
            if left.outcome is Outcome.CONFORMS or not all(entry.mend for entry in some):
                return in_force, replace(example, known=tuple(entry.id for entry in in_force))
        tried = (*tried, *new)
    return tried, left
