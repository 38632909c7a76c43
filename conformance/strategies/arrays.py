"""Covering arrays: few rows of classes in which every possible pair of classes occurs. covertable makes them."""

from __future__ import annotations

from functools import cache
from typing import Any

from covertable import make

from conformance.families.family import Draw
from conformance.strategies.space import Space, space

Classes = tuple[tuple[str, str], ...]
"""A row of an array: for each dimension in which the family's Cases differ, the class."""

JOINED = {
    "who places": "dispatched",
    "where the layers are": "layers_together",
    "where the rest is": "rest_spread",
    "placement.merged": "merged_keys",
}
"""The layers on one device and the rest on several: never on that one alone."""


@cache
def array(draw: Draw, placed: bool, salt: str) -> tuple[Classes, ...]:
    """Rows for a family that draws from ``draw``: all possible pairs. Another ``salt`` gives other rows.

    The simplest comes first; of placed models then one key of a map for all layers, apart from the rest, which takes four
    classes together.
    """
    all_of_it = space(draw, placed)
    varied = {name: list(classes) for name, classes in all_of_it.classes.items() if len(classes) > 1}
    simplest = {name: classes[0] for name, classes in varied.items()}
    presets = [simplest, simplest | JOINED] if placed else [simplest]
    rows = make(varied, salt=salt, presets=presets, constraints=[_possible(all_of_it, list(varied))])
    return tuple(tuple(row.items()) for row in rows)


def _possible(all_of_it: Space, names: list[str]) -> dict[str, Any]:
    """The constraint that a Case can have the classes of a row. Of a row that is not full, covertable wants to know a No."""

    def evaluate(row: dict[str, str]) -> bool | None:
        possible = all_of_it.possible({name: row[name] for name in row if name in all_of_it.bound})
        return (True if len(row) == len(names) else None) if possible else False

    return {"operator": "fn", "requires": [], "evaluate": evaluate}
