"""A part of the space of Cases: one row of a covering array."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from conformance.families.family import Draw, Family
from conformance.strategies.arrays import Classes, array


class Stratum(Struct, frozen=True, kw_only=True):
    """The Cases with certain ``classes``, one of each dimension; those of ``placed`` models have a device map."""

    name: str
    classes: Classes
    placed: bool = False
    simplest: bool = False
    """Whether its simplest Case is wanted, not any."""


def strata(family: Family, arrays: int, seed: int, placed: bool = False) -> Iterator[Stratum]:
    """The rows of so many covering arrays of ``family``, each with every possible pair of classes; the simplest row first."""
    for number in range(arrays):
        yield from one_array(family, number, seed, placed)


def one_array(family: Family, number: int, seed: int, placed: bool = False) -> Iterator[Stratum]:
    """The rows of a single covering array, one of any ``number`` of them."""
    for index, row in enumerate(array(drawn_from(family, placed), placed, f"{family.name} {seed} {number}")):
        yield Stratum(name=f"{number}.{index}", classes=row, placed=placed, simplest=number == index == 0)


def drawn_from(family: Family, placed: bool) -> Draw:
    """What is drawn in ``family``: placed models are small, with two or three layers, which can be apart, if there are any."""
    numbers = family.draw.layers
    few = tuple(n for n in numbers if n in (2, 3)) or tuple(n for n in numbers if n > 1) or numbers
    return replace(family.draw, layers=few) if placed else family.draw
