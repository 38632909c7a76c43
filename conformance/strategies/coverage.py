"""Which combinations of classes Cases reach, which are impossible, and which are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import reduce
from itertools import combinations, pairwise, product
from typing import get_args

from msgspec import Struct

from conformance.core.case import Case
from conformance.core.dimension import Dimension
from conformance.core.dimensions import DIMENSIONS
from conformance.core.story import Do
from conformance.strategies.beginning import SHARE
from conformance.strategies.impossible import Impossible, Kind, reasons
from conformance.strategies.space import drawn_from, space
from conformance.strategies.stories import NOTHING_INSIDE, SETTLED

Combination = tuple[str, ...]
"""Classes of so many dimensions, in their order."""
COMBINATIONS = {1: "classes", 2: "pairs", 3: "triples"}

Succession = tuple[Do, Do]
"""Two kinds of steps, the second right after the first."""
NEVER_FOLLOWS: frozenset[Succession] = frozenset(
    {(do, do) for do in SETTLED}
    | {NOTHING_INSIDE}
    | {(before, "go_on") for before in ("go_on", "train", "resume")}
    | {(before, "enable") for before in ("enable", "train", "resume")}
    | {("disable", "train"), ("disable", "resume"), ("resume", "delete"), ("resume", "switch")}
)
"""What may not be, or says nothing: there is no cache to go on from, nothing to leave, to train or to switch to."""

UNMADE = "no values of the family file make them all"


class Coverage(Struct, frozen=True):
    """The combinations of so many classes (``size``): those reached, those missing, and how many are impossible, by reason."""

    size: int
    reached: frozenset[Combination] = frozenset()
    missing: frozenset[Combination] = frozenset()
    impossible: dict[str, int] = {}

    @property
    def possible(self) -> int:
        """How many there can be."""
        return len(self.reached) + len(self.missing)

    @property
    def share(self) -> float:
        """The share of those possible that are reached."""
        return len(self.reached) / self.possible if self.possible else 1.0


def dimensions_of(placed: bool) -> tuple[Dimension, ...]:
    """The dimensions in which drawn Cases differ; relations make the classes of the others, in each that they fit."""
    return tuple(d for d in DIMENSIONS if d.of == "drawn" or (placed and d.of == "placed"))


def cover(cases: Iterable[Case], kind: Kind, size: int) -> Coverage:
    """What the ``cases``, all of one ``kind``, reach."""
    dimensions, reached = dimensions_of(kind.placed), set[Combination]()
    for case in cases:
        reached.update(combinations([dimension.class_of(case) for dimension in dimensions], size))
    holding = reasons(kind)
    why = {
        classes: _why(classes, holding) or _unmade(some, classes, kind)
        for some in combinations(dimensions, size)
        for classes in product(*(dimension.classes for dimension in some))
        if classes not in reached
    }
    return Coverage(
        size=size,
        reached=frozenset(reached),
        missing=frozenset(one for one, words in why.items() if not words),
        impossible=dict(Counter(filter(None, why.values()))),
    )


def _why(classes: Combination, holding: tuple[Impossible, ...]) -> str:
    return next((reason.words for reason in holding if reason.covers(classes)), "")


def _unmade(dimensions: Iterable[Dimension], classes: Combination, kind: Kind) -> str:
    """Another repository's family may have sizes that nobody thought of here: then the values of its file say it."""
    wanted = dict(zip((dimension.name for dimension in dimensions), classes, strict=True))
    made = space(drawn_from(kind.family, kind.placed), kind.placed)
    return UNMADE if wanted.keys() <= made.classes.keys() and not made.possible(wanted) else ""


def successions(cases: Iterable[Case]) -> tuple[frozenset[Succession], frozenset[Succession]]:
    """Which step follows which in the stories of ``cases``, and which never does though it may."""
    reached = frozenset((one.do, other.do) for case in cases for one, other in pairwise(case.story))
    return reached, frozenset(product(get_args(Do), repeat=2)) - reached - NEVER_FOLLOWS


def promised(size: int, arrays: int) -> float:
    """The share of the possible combinations of ``size`` classes that so many arrays promise to reach within a family."""
    return {1: 1.0, 2: SHARE if arrays == 1 else 1.0}.get(size, 0.0)


def promised_of_union(size: int, every: bool) -> float:
    """The same of several families together; of ``every`` one of models/ all pairs."""
    return {1: 1.0, 2: 1.0 if every else 0.0}.get(size, 0.0)


def union(coverages: Iterable[Coverage]) -> Coverage:
    """What several families reach together, of all that any of them can have."""
    return reduce(_joined, coverages)


def _joined(one: Coverage, other: Coverage) -> Coverage:
    reached = one.reached | other.reached
    return Coverage(size=one.size, reached=reached, missing=(one.missing | other.missing) - reached)
