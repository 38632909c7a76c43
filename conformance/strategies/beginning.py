"""The beginning of a family's array: all its classes, nine tenths of their pairs, and all pairs in the union of the families.

The last rows of an array hold few pairs each, most of which another family's beginning has. What no beginning has belongs to the
first family that can have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import accumulate, combinations

from conformance.families import families, is_shipped
from conformance.families.family import Draw, Family
from conformance.methods import METHODS
from conformance.strategies.arrays import Classes, array
from conformance.strategies.space import drawn_from

SHARE = 0.9
"""The share of a family's possible pairs of classes that its beginning holds at least."""
FEW = 6
"""How many rows each method visits at least: one more than the decisive examples that most claims want."""
Pairs = frozenset[Classes]
"""Pairs of classes of two dimensions."""


def dealt(family: Family, seed: int, placed: bool, method: str) -> tuple[int, ...]:
    """The indices of the rows that ``method`` visits of the family's first array, in their order.

    The first method visits the whole beginning. The others share it: each has the simplest row, and all together every row.
    """
    first, *rest = beginning(family, seed, placed)
    _, *others = METHODS
    if method not in others or not rest:
        return (first, *rest)
    count = min(len(rest), max(FEW - 1, -(-len(rest) // len(others))))
    start = others.index(method) * count
    return (first, *sorted(rest[index % len(rest)] for index in range(start, start + count)))


def beginning(family: Family, seed: int, placed: bool) -> tuple[int, ...]:
    """The indices of the rows of the family's first array that are its beginning, in their order."""
    rows = _pairs_of_rows(drawn_from(family, placed), placed, salt(family, seed, 0))
    begun = _begun(rows)
    chosen = set(range(begun))
    # A family of another repository has no part in the union.
    wanted = _left(seed, placed)[family.name] if is_shipped(family.name) else _of_new_classes(rows, begun)
    while wanted:
        best = max(range(begun, len(rows)), key=lambda index: len(rows[index] & wanted))
        chosen.add(best)
        wanted -= rows[best]
    return tuple(sorted(chosen))


def salt(family: Family, seed: int, number: int) -> str:
    """What makes array ``number`` of ``family`` another one than any other."""
    return f"{family.name} {seed} {number}"


@cache
def _pairs_of_rows(draw: Draw, placed: bool, salt: str) -> tuple[Pairs, ...]:
    return tuple(frozenset(combinations(row, 2)) for row in map(_ordered, array(draw, placed, salt)))


def _ordered(row: Classes) -> Classes:
    """The classes of a row in the order of the dimensions' names, which is the same for all families."""
    return tuple(sorted(row))


@cache
def _begun(rows: tuple[Pairs, ...]) -> int:
    """How many rows it takes, from the first, to hold the share of all pairs."""
    reached: list[Pairs] = list(accumulate(rows, lambda one, other: one | other))
    return next(count for count, pairs in enumerate(reached, 1) if len(pairs) >= SHARE * len(reached[-1]))


@cache
def _of_new_classes(rows: tuple[Pairs, ...], begun: int) -> Pairs:
    """A pair for each class that the rows after ``begun`` have and those before have not."""
    seen = {one for pair in _union(rows[:begun]) for one in pair}
    return frozenset({one: pair for pair in sorted(_union(rows)) for one in pair if one not in seen}.values())


@cache
def _left(seed: int, placed: bool) -> dict[str, Pairs]:
    """For each shipped family the pairs that no beginning has, and that it is the first to have; and those of new classes."""
    shipped = [family for family in families().values() if is_shipped(family.name)]
    rows = {f.name: _pairs_of_rows(drawn_from(f, placed), placed, salt(f, seed, 0)) for f in shipped}
    seen = _union(pairs for found in rows.values() for pairs in found[: _begun(found)])
    left = {}
    for name, found in rows.items():
        left[name] = (_union(found) - seen) | _of_new_classes(found, _begun(found))
        seen |= left[name]
    return left


def _union(several: Iterable[Pairs]) -> Pairs:
    return frozenset().union(*several)
