"""Known means explained: a violation is known only if the same Case conforms with the mends of what it resembles in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from conformance.clauses.registry import Clause
from conformance.core.finding import Difference
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

    What is seen with mends in force may resemble further entries, which are then mended, too; in the end all that concern the
    Case. A refusal under the mends explains nothing: then the violation stands as it was. Where the claim turns out to say
    nothing, that is what is left.
    """
    tried, left = _mended(clause, lab, example, entries)
    if not tried or left.outcome is Outcome.VIOLATES:
        return left
    if left.outcome is Outcome.REFUSED:
        return example
    return replace(left, reason=f"with {', '.join(entry.id for entry in tried)} mended: {left.reason}")


def beyond_its_range(clause: Clause, lab: Lab, example: Example, entries: Entries) -> Example:
    """A violation that nothing explains, with the entries that would explain it if their ranges held these versions.

    It stays a violation: whoever widens a range looks at it first.
    """
    found = example.finding
    if found is None or example.known or example.outcome is not Outcome.VIOLATES:
        return example
    alike = [entry for entry in entries if entry.mend and entry.would_resemble(found)]
    mended_then = tuple(entry for entry in entries if entry.id in found.mended)
    explain = tuple(entry.id for entry in alike if _explains(clause, lab, example, (*mended_then, entry)))
    return replace(example, finding=replace(found, beyond=explain))


def _explains(clause: Clause, lab: Lab, example: Example, mends: Entries) -> bool:
    try:
        with with_mends(lab, mends) as there:
            return run(clause, there, example.case).outcome is Outcome.CONFORMS
    except (AttributeError, ImportError):
        return False  # what is mended there is not in these versions


def _mended(clause: Clause, lab: Lab, example: Example, entries: Entries) -> tuple[Entries, Example]:
    """The entries whose mends were put in force, one after the other, and what was seen in the end."""

    def under(in_force: Entries) -> Example:
        with with_mends(lab, in_force) as there:
            return run(clause, there, example.case)

    steps = _Steps(under, example)
    explained = steps.take(lambda left: (entry for entry in entries if left.finding and entry.resembles(left.finding)))
    if explained or not steps.tried:
        return steps.kept, steps.left
    left = under(steps.tried)
    if left.outcome is Outcome.CONFORMS:
        return steps.tried, _known(example, steps.tried)
    # Behind what it resembles there may be what it does not.
    concerned = tuple(entry for entry in entries if entry.mend and example.finding and entry.concerns(example.finding))
    if under(concerned).outcome is not Outcome.CONFORMS:
        return steps.tried, left
    together = steps.kept if steps.take(lambda _: concerned) else _needed_of(concerned, under)
    return together, _known(example, together)


class _Steps:
    """Mends put in force one after the other, each beside those that changed what is seen, until the Case conforms.

    ``kept`` are those that changed it, ``tried`` all; ``left`` is what is seen with the kept ones, and in the end the example
    as it was, known.
    """

    def __init__(self, under: Callable[[Entries], Example], example: Example) -> None:
        self._under, self._example = under, example
        self.kept: Entries = ()
        self.tried: Entries = ()
        self.left = example
        self._explained = False

    def take(self, nominated: Callable[[Example], Iterable[KnownFailure]]) -> bool:
        """Try what is ``nominated`` by what is left, what needs most of a Case first, and anew whenever that changes.

        Whether the Case conforms in the end.
        """
        while not self._explained and any(self._changes(entry) for entry in self._new(nominated(self.left))):
            pass
        return self._explained

    def _new(self, nominated: Iterable[KnownFailure]) -> Entries:
        new = (entry for entry in nominated if entry not in self.kept)
        return tuple(sorted(new, key=lambda entry: len(entry.features), reverse=True))

    def _changes(self, entry: KnownFailure) -> bool:
        """Whether the violation is gone, or is another one, with the mend of ``entry`` in force, too; then it is kept."""
        left = self._under((*self.kept, entry))
        self.tried = tuple(dict.fromkeys((*self.tried, entry)))
        # Of an entry without a mend its words are the proof.
        self._explained = left.outcome is Outcome.CONFORMS or not entry.mend
        changed = self._explained or _shown(left) not in (None, _shown(self.left))
        if changed:
            self.kept = (*self.kept, entry)
            self.left = _known(self._example, self.kept) if self._explained else left
        return changed


def _shown(example: Example) -> tuple[Difference, str] | None:
    """The violation that it is, to the last digit."""
    return (example.finding.difference, example.finding.where) if example.finding else None


def _needed_of(concerned: Entries, under: Callable[[Entries], Example]) -> Entries:
    """As few of the ``concerned`` entries as do, all mended."""
    for entry in concerned:
        fewer = tuple(other for other in concerned if other is not entry)
        if under(fewer).outcome is Outcome.CONFORMS:
            concerned = fewer
    return concerned


def _known(example: Example, entries: Entries) -> Example:
    return replace(example, known=tuple(entry.id for entry in entries))
