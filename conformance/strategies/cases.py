"""The strategy: valid by construction, small integers only, stratified: every pair of classes occurs within any budget.

A stratum pins the class of each dimension; within it Hypothesis draws which values make them, and the rest, simplest first. Every
clause of a family draws from the same strategies with the same seed, hence meets the same Cases, and the memo of
:mod:`conformance.runs.lab` lets them share the runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec.structs import replace

from conformance.core.case import Case, Row
from conformance.core.dimensions import OF_METHODS
from conformance.core.finding import DEFAULT_METHOD
from conformance.families.family import Draw, Family
from conformance.methods import method_named
from conformance.strategies.space import drawn_from, space
from conformance.strategies.stratum import Stratum
from conformance.strategies.values import Drawer, Values, assembled

SEEDS = st.integers(0, 9)


def cases(family: Family, stratum: Stratum, method: str = DEFAULT_METHOD) -> SearchStrategy[Case]:
    """The Cases of ``family`` with ``method`` within ``stratum``."""
    its, shaped = method_named(method), drawn_from(family, stratum.placed)

    @st.composite
    def drawn(draw: Drawer) -> Case:
        # First, since of its first choice Hypothesis takes another value than the simplest once it has tried that.
        seed = draw(SEEDS)
        values: Values = {}
        for ways in space(shaped, stratum.placed).ways(dict(stratum.classes)):
            values |= _one_of(draw, ways)
        values |= _rest(draw, shaped)
        rows = _rows(draw, values["longest"], values["spread"])
        values |= _of_method(stratum.place, its.varied)
        case = assembled(family.name, values, rows=rows, method=method, seed=seed)
        # Drawn all the same: draws must not shift.
        return replace(case, prefix=its.meant(case.prefix))

    return drawn()


def _one_of(draw: Drawer, ways: Sequence[Values]) -> Values:
    """One of ``ways``, a field after the other: each choice is a small one."""
    for field in ways[0]:
        chosen = draw(st.sampled_from(tuple(dict.fromkeys(way[field] for way in ways))))
        ways = [way for way in ways if way[field] == chosen]
    return ways[0]


def _rest(draw: Drawer, shaped: Draw) -> Values:
    """What no dimension speaks of."""
    values = {
        f"roles.{name}": draw(st.sampled_from(getattr(shaped, name))) for name in ("ffn", "positions", "activation")
    }
    return {**values, "prefix.seed": draw(SEEDS)}


def _of_method(place: int, varied: frozenset[str]) -> Values:
    """What only some methods have: from place to place another value of each field, so that few Cases have all of them."""
    values: Values = {}
    for dimension in OF_METHODS:
        if dimension.field.rpartition(".")[2] in varied:
            place, index = divmod(place, len(dimension.values))
            values[dimension.field] = dimension.values[index]
    return values


def _rows(draw: Drawer, longest: int, spread: str) -> tuple[Row, ...]:
    """Rows of which one is the longest, and whose pads are ``spread`` so."""
    count = 1 if spread == "alone" else draw(st.sampled_from((2, 3)))
    least = {"some": 2, "one": 1}.get(spread, longest)
    shortest = draw(st.integers(least, longest - 1)) if spread == "some" else least
    between = [draw(st.integers(least, longest)) for _ in range(count - 2)]
    lengths = [longest] if count == 1 else [shortest, *between, longest]
    if count > 1 and draw(st.booleans()):
        lengths.reverse()
    return tuple(Row(length=length, seed=draw(SEEDS)) for length in lengths)
