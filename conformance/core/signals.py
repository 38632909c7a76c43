"""What a clause, or a run below it, raises instead of returning: the ways in which an example can end."""

from __future__ import annotations

from conformance.core.finding import Difference
from conformance.core.outcome import How


class Signal(Exception):
    """Base of everything that ends an example."""


class Violation(Signal):
    """The claim does not hold; ``difference`` says where."""

    def __init__(self, difference: Difference, how: How = How.WRONG, where: str = "") -> None:
        super().__init__(difference.what)
        self.difference, self.how, self.where = difference, how, where


class RunFailed(Signal):
    """What is judged raised an exception. ``refused``: in words, before any decoder layer ran; ``misleading``: in wrong ones.

    ``told`` is the step of a story, counted from 0, in which it did.
    """

    def __init__(
        self,
        call: str,
        error: BaseException,
        where: str,
        refused: bool,
        misleading: bool = False,
        told: int | None = None,
    ) -> None:
        super().__init__(f"{call}: {type(error).__name__}: {error}")
        self.call, self.error, self.where, self.refused = call, error, where, refused
        self.misleading, self.told = misleading, told

    @property
    def words(self) -> str:
        """The exception's type and the first line of its message."""
        lines = str(self.error).strip().splitlines()
        return f"{type(self.error).__name__}: {lines[0] if lines else ''}"


class NotApplicable(Signal):
    """The claim says nothing about this Case; the message says why."""


class BaseFails(NotApplicable):
    """The base model alone fails at the very same request; the message says how."""


class Undecided(Signal):
    """Nobody can say: closer than the error of the computation, or nothing right to compare with; the message says which."""


def violation(
    what: str, got: object, expected: object, *, row: int | None = None, step: int | None = None
) -> Violation:
    """A violation that is not a matter of degree (lengths, positions, bits)."""
    return Violation(Difference(what=what, got=str(got), expected=str(expected), row=row, step=step))
