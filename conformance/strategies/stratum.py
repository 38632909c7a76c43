"""A part of the space of Cases: one row of a covering array."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from conformance.core.finding import DEFAULT_METHOD
from conformance.families.family import Family
from conformance.strategies.arrays import Classes, array
from conformance.strategies.beginning import dealt, salt
from conformance.strategies.space import drawn_from


class Stratum(Struct, frozen=True, kw_only=True):
    """The Cases with certain ``classes``, one of each dimension; those of ``placed`` models have a device map."""

    name: str
    classes: Classes
    placed: bool = False
    place: int = 0
    """Which it is of those that are visited."""
    simplest: bool = False
    """Whether its simplest Case is wanted, not any."""


def strata(
    family: Family, arrays: int, seed: int, placed: bool = False, method: str = DEFAULT_METHOD
) -> Iterator[Stratum]:
    """The rows of so many covering arrays of ``family``, each with every possible pair of classes; the simplest row first.

    Of a single one the beginning, nine tenths of the pairs, and all in the union of families; or what is dealt out of it to
    a ``method`` that is not the first.
    """
    if arrays == 1:
        rows = tuple(one_array(family, 0, seed, placed))
        visited = (rows[index] for index in dealt(family, seed, placed, method))
        yield from (replace(stratum, place=place) for place, stratum in enumerate(visited))
        return
    for number in range(arrays):
        yield from one_array(family, number, seed, placed)


def one_array(family: Family, number: int, seed: int, placed: bool = False) -> Iterator[Stratum]:
    """The rows of a single covering array, one of any ``number`` of them."""
    for index, row in enumerate(array(drawn_from(family, placed), placed, salt(family, seed, number))):
        simplest = number == index == 0
        yield Stratum(name=f"{number}.{index}", classes=row, placed=placed, place=index, simplest=simplest)
