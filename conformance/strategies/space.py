"""The space of a family's Cases: which classes of the dimensions it can have together, and which values make each.

The space is a product of *parts*: values of a Case that belong together, such as the numbers of virtual tokens, of tokens of text
and of the window. A part lists all that its values can be, simplest first; which classes each has is asked of the dimensions
themselves. So nothing is drawn that has another class than the one that was wanted, and what no values make is impossible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from itertools import product

from msgspec.structs import replace

from conformance.core.dimensions import DIMENSIONS, DRAWN
from conformance.core.placed_dimensions import PLACED
from conformance.families.family import Draw, Family
from conformance.strategies.values import OF_MAPS, TABLES, Choices, Values, assembled, of_field

STATES = frozenset(product((True, False), repeat=2))
"""Whether layers slide, and whether transformers makes the map: what several parts must agree on."""
TELLS: dict[str, tuple[bool | None, bool | None]] = {
    "no_layer_slides": (False, None),
    "every_layer_slides": (True, None),
    "some_layers_slide": (True, None),
    "no_window": (False, None),
    "window_holds_all": (True, None),
    "text_leaves_window": (True, None),
    "n_below_window_by_one": (True, None),
    "n_fills_window": (True, None),
    "n_above_window": (True, None),
    "dispatched": (None, False),
    "map_given": (None, False),
    "map_made": (None, True),
    "devices_by_number": (None, False),
    "torch_devices": (None, False),
    "keys_reversed": (None, False),
    "merged_keys": (None, False),
}
"""The classes that tell one of these; nobody spells a map that transformers makes."""


class Joint:
    """Values that belong together: for the classes of ``dimensions``, in that order, all the values that have them."""

    def __init__(self, table: Choices, draw: Draw) -> None:
        dimensions = [dimension for dimension in DIMENSIONS if dimension.name in table.names]
        self.names = tuple(dimension.name for dimension in dimensions)
        found: dict[tuple[str, ...], list[Values]] = {}
        for one in table.values(draw):
            case = assembled("", one | table.assumed(draw, one))
            found.setdefault(tuple(dimension.class_of(case) for dimension in dimensions), []).append(one)
        self.values = {classes: tuple(ways) for classes, ways in found.items()}
        self.tells = any(name in TELLS for classes in self.values for name in classes)
        self._any = (1 << len(self.values)) - 1
        self._having = {
            (dimension, wanted): _bits(classes[index] == wanted for classes in self.values)
            for index, dimension in enumerate(self.names)
            for wanted in {classes[index] for classes in self.values}
        }
        self._allowing = {state: _bits(_allows(classes, state) for classes in self.values) for state in STATES}
        self._states: dict[tuple[str | None, ...], frozenset[tuple[bool, ...]]] = {}

    def states(self, wanted: Mapping[str, str]) -> frozenset[tuple[bool, ...]]:
        """The states in which this part has the ``wanted`` classes, by dimension; none if it never has them."""
        asked = tuple(map(wanted.get, self.names))
        if asked not in self._states:
            self._states[asked] = self._states_of(asked)
        return self._states[asked]

    def _states_of(self, asked: tuple[str | None, ...]) -> frozenset[tuple[bool, ...]]:
        having = self._any
        for name, wanted in zip(self.names, asked, strict=True):
            if wanted is not None:
                having &= self._having.get((name, wanted), 0)
        return frozenset(state for state, allowing in self._allowing.items() if having & allowing)


def _bits(chosen: Iterable[bool]) -> int:
    """A bit for each of a part's ways that is chosen."""
    return sum(1 << index for index, one in enumerate(chosen) if one)


def _allows(classes: tuple[str, ...], state: tuple[bool, ...]) -> bool:
    """Whether none of ``classes`` tells otherwise than ``state``."""
    told = (TELLS[name] for name in classes if name in TELLS)
    return all(a in (None, b) for tell in told for a, b in zip(tell, state, strict=True))


class Space:
    """All that the Cases of a family can be that draws from ``draw``; those of ``placed`` models lie somewhere, too."""

    def __init__(self, draw: Draw, placed: bool) -> None:
        fields = (dimension for dimension in (*DRAWN, *(PLACED if placed else ())) if dimension.field)
        tables = (*TABLES, *((OF_MAPS,) if placed else ()), *map(of_field, fields))
        self.parts = tuple(Joint(table, draw) for table in tables)
        self._part = {name: part for part in self.parts for name in part.names}
        self.bound = {name for part in self.parts if len(part.names) > 1 or part.tells for name in part.names}
        """The dimensions of which not all classes go with all of others."""

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of each dimension that the family can have, the simplest first."""
        each = [(name, part, index) for part in self.parts for index, name in enumerate(part.names)]
        return {name: tuple(dict.fromkeys(way[index] for way in part.values)) for name, part, index in each}

    def ways(self, wanted: Mapping[str, str]) -> list[tuple[Values, ...]]:
        """Of each part all the values that have the ``wanted`` classes, which say one of each dimension that varies."""
        whole = {**{name: classes[0] for name, classes in self.classes.items()}, **wanted}
        return [part.values[tuple(whole[name] for name in part.names)] for part in self.parts]

    def possible(self, wanted: Mapping[str, str]) -> bool:
        """Whether one Case can have all the ``wanted`` classes, by dimension."""
        left = STATES
        for part in {self._part[name]: None for name in wanted}:
            left &= part.states(wanted)
        return bool(left)


@cache
def space(draw: Draw, placed: bool = False) -> Space:
    """The space of a family that draws from ``draw``."""
    return Space(draw, placed)


def drawn_from(family: Family, placed: bool) -> Draw:
    """What is drawn in ``family``: placed models are small, with two or three layers, which can be apart, if there are any."""
    numbers = family.draw.layers
    few = tuple(n for n in numbers if n in (2, 3)) or tuple(n for n in numbers if n > 1) or numbers
    return replace(family.draw, layers=few) if placed else family.draw
