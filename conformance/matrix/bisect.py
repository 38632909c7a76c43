"""Find where along one axis a Case begins or ceases to fail. Pure search: how a release looks is asked of the caller.

Nothing is taken to be monotone. What is found are two releases that were both looked at, look different, and have nothing
in between that can be judged; releases that were not looked at may hide other changes, and are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

from msgspec import Struct


class Look(str, Enum):
    """How a Case fares on one release."""

    GOOD = "good"
    BAD = "bad"
    NEITHER = "neither"


class Seen(Struct, frozen=True, kw_only=True):
    """One release that was looked at, and why it looks so."""

    release: str
    look: Look
    why: str = ""


class Neighbours(Struct, frozen=True, kw_only=True):
    """What a search came to: the two neighbours, older first, or ``why`` there are none.

    ``seen`` is in the order of looking, ``skipped`` lies between the neighbours and is neither good nor bad, ``untried``
    lies between the outermost releases that were looked at.
    """

    seen: tuple[Seen, ...]
    older: Seen | None = None
    newer: Seen | None = None
    skipped: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    why: str = ""


class Search:
    """One axis: its ``releases``, oldest first, and how to ``look`` at one, which costs seconds and is remembered."""

    def __init__(self, releases: Sequence[str], look: Callable[[str], Seen]) -> None:
        self.releases = releases
        self._look = look
        self._seen: dict[int, Seen] = {}

    def at(self, index: int) -> Seen:
        """What that release looks like."""
        if index not in self._seen:
            self._seen[index] = self._look(self.releases[index])
        return self._seen[index]

    def between(self, start: str, end: str) -> Neighbours:
        """The neighbours between two releases, which are both looked at first."""
        first, last = self.releases.index(start), self.releases.index(end)
        if self.at(first).look is Look.NEITHER:
            return self._none(f"{start} cannot be judged: {self.at(first).why}")
        inwards = range(last, first, -1 if last > first else 1)
        other = self._first_other(first, inwards, anything=True)
        if other is None:
            return self._none(f"nothing but {start} can be judged between {start} and {end}")
        if self.at(other).look is self.at(first).look:
            return self._none(f"both ends are {self.at(first).look.value}: {start} and {self.releases[other]}")
        return self._narrow(first, other)

    def around(self, start: str) -> Neighbours:
        """The neighbours next to ``start`` as far as they can be found in ever longer steps: to newer ones, then to older."""
        first = self.releases.index(start)
        if self.at(first).look is Look.NEITHER:
            return self._none(f"{start} cannot be judged: {self.at(first).why}")
        for direction in (1, -1):
            other = self._first_other(first, self._outwards(first, direction))
            if other is not None:
                return self._narrow(self._last_same(first, other), other)
        return self._none(f"everything that was looked at is {self.at(first).look.value}, as {start} is")

    def _first_other(self, first: int, order: Iterable[int], anything: bool = False) -> int | None:
        for index in order:
            look = self.at(index).look
            if look is not Look.NEITHER and (anything or look is not self.at(first).look):
                return index
        return None

    def _outwards(self, first: int, direction: int) -> Iterator[int]:
        """1, 2, 4, ... releases away, and the outermost; one that is neither good nor bad counts for nothing."""
        end = len(self.releases) - 1 if direction > 0 else 0
        index, step = first, 1
        while index != end:
            index = min(index + step, end) if direction > 0 else max(index - step, end)
            yield index
            step = step if self.at(index).look is Look.NEITHER else 2 * step

    def _last_same(self, first: int, other: int) -> int:
        """Of those that look as ``first`` does, the one nearest to ``other`` on this side."""
        look = self.at(first).look
        alike = [index for index, seen in self._seen.items() if seen.look is look]
        same_side = [index for index in alike if (index < other) == (first < other)]
        return min(same_side, key=lambda index: abs(other - index))

    def _narrow(self, one: int, other: int) -> Neighbours:
        while (middle := self._middle(one, other)) is not None:
            look = self.at(middle).look
            if look is self.at(one).look:
                one = middle
            elif look is self.at(other).look:
                other = middle
        older, newer = sorted((one, other))
        return Neighbours(
            seen=tuple(self._seen.values()),
            older=self.at(older),
            newer=self.at(newer),
            skipped=tuple(self.releases[older + 1 : newer]),
            untried=self._untried(),
        )

    def _middle(self, one: int, other: int) -> int | None:
        """Of those in between that may still be good or bad, the one nearest to the middle."""
        left, right = sorted((one, other))
        neither = {index for index, seen in self._seen.items() if seen.look is Look.NEITHER}
        open_ = [index for index in range(left + 1, right) if index not in neither]
        return min(open_, key=lambda index: abs(2 * index - left - right), default=None)

    def _untried(self) -> tuple[str, ...]:
        inside = range(min(self._seen), max(self._seen))
        return tuple(self.releases[index] for index in inside if index not in self._seen)

    def _none(self, why: str) -> Neighbours:
        return Neighbours(seen=tuple(self._seen.values()), untried=self._untried(), why=why)
