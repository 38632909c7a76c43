"""The numbers that are promised: which combinations of classes are drawn, and that nothing is called impossible that is not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import combinations, product

import pytest
from hypothesis import Phase, given, settings
from msgspec.structs import replace

from conformance.clauses.registry import Clause, clauses
from conformance.core.case import Case
from conformance.core.dimension import Dimension
from conformance.core.dimensions import DIMENSIONS
from conformance.engine.search import PROFILES, drawn
from conformance.families import Family, families, family_named
from conformance.families.family import Draw
from conformance.strategies import Stratum, cases, one_array, strata
from conformance.strategies import coverage as counting
from conformance.strategies.beginning import SHARE
from conformance.strategies.coverage import Coverage, cover, dimensions_of, union
from conformance.strategies.impossible import REASONS, Kind, reasons
from conformance.strategies.space import drawn_from, space

NAMES = tuple(families())
PAIR, TRIPLE = 2, 3


@cache
def met(name: str, placed: bool, profile: str, start: int) -> tuple[Case, ...]:
    rows = strata(family_named(name), PROFILES[profile], start, placed)
    return tuple(drawn(name, stratum, start) for stratum in rows)


def reach(name: str, placed: bool, profile: str, start: int, size: int) -> Coverage:
    return cover(met(name, placed, profile, start), Kind(family_named(name), placed), size)


def drawn_for(family: Family, placed: bool, rows: Iterable[Stratum] = ()) -> list[Case]:
    """The simplest Case of each of ``rows``, else of a whole array, of a family that nobody has registered."""
    found: list[Case] = []
    for stratum in rows or one_array(family, 0, 0, placed):

        @settings(max_examples=1, database=None, deadline=None, phases=[Phase.generate])
        @given(cases(family, stratum))
        def keep(case: Case) -> None:
            found.append(case)

        keep()
    return found


# -- the numbers ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("placed", "start"), [(False, 0), (False, 1), (False, 20), (False, 1234), (True, 0), (True, 7)]
)
def test_quick_has_nine_tenths_of_the_pairs_within_each_family_and_all_in_the_union(placed: bool, start: int) -> None:
    each = {name: reach(name, placed, "quick", start, PAIR) for name in NAMES}
    assert {name: found.share for name, found in each.items() if found.share < SHARE} == {}
    assert union(each.values()).missing == frozenset()


@pytest.mark.parametrize("placed", [False, True])
def test_quick_begins_the_array_that_it_does_not_visit_to_its_end(placed: bool) -> None:
    for name in NAMES:
        family = family_named(name)
        begun, whole = (
            [row.name for row in rows] for rows in (strata(family, 1, 0, placed), one_array(family, 0, 0, placed))
        )
        assert begun[0] == whole[0]
        assert begun == [name for name in whole if name in begun] != whole


def test_another_repositorys_family_has_nine_tenths_of_its_pairs() -> None:
    family = replace(family_named("llama"), name="of_theirs")
    met = drawn_for(family, False, strata(family, 1, 0))
    assert SHARE <= cover(met, Kind(family, False), PAIR).share < 1


@pytest.mark.parametrize("start", [0, 1])
def test_standard_has_every_pair_within_each_family_and_nearly_every_triple_of_the_union(start: int) -> None:
    assert [name for name in NAMES if reach(name, False, "standard", start, PAIR).missing] == []
    assert union(reach(name, False, "standard", start, TRIPLE) for name in NAMES).share >= 0.95


def test_standard_has_nearly_every_triple_of_placed_models_of_the_union() -> None:
    few = ("gemma3", "gpt_neox", "llama", "mistral", "t5")
    assert union(reach(name, True, "standard", 0, TRIPLE) for name in few).share >= 0.95


def test_quick_is_cheaper_than_the_24_cases_that_an_item_once_had() -> None:
    """Of placed models there were 27, fewer; but those whose map transformers makes are not for most of the clauses."""
    plain, placed = ([len(met(name, placed, "quick", 0)) for name in NAMES] for placed in (False, True))
    assert sum(plain) <= 14 * len(NAMES)
    assert sum(placed) <= 20 * len(NAMES)


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("name", [name for name, family in families().items() if family.draw.grouped])
def test_grouped_queries_with_several_key_value_heads_are_drawn_in_every_profile(name: str, start: int) -> None:
    """The shape of nearly every model in use."""
    assert sum(1 < case.roles.kv_heads < case.roles.heads for case in met(name, False, "quick", start)) >= 2


def test_encoders_of_fewer_layers_are_drawn() -> None:
    assert sum(0 < case.roles.encoder_layers < case.roles.layers for case in met("t5", False, "quick", 0)) >= 3


@pytest.mark.parametrize("clause", [c for c in clauses().values() if not c.fixed_case], ids=lambda clause: clause.id)
def test_an_array_decides_something_of_every_claim_that_speaks_of_the_family(clause: Clause) -> None:
    """Or no array has a Case for it. With one for certain in each, there are enough in five times as many."""
    for name in NAMES:
        each = [
            sum(
                not clause.missing(case)
                for drawn in met(name, clause.placed, "quick", start)
                for case in clause.cases(drawn)
            )
            for start in (0, 1, 2, 3)
        ]
        assert min(each) > 0 or max(each) == 0, (name, each)


# -- what is impossible -----------------------------------------------------------------------------------------------
PLAIN = family_named("llama")
STRANGE = {
    "three heads at most": Draw(grouped=True, heads=(1, 2, 3)),
    "one head": Draw(heads=(1,), own_head_dim=True),
    "two heads": Draw(heads=(2,), grouped=True),
    "four layers": Draw(layers=(4,)),
    "one layer": Draw(layers=(1,)),
    "a deep one": Draw(layers=(1, 4)),
    "all layers slide": Draw(sliding=((True,),), windows=(4,)),
    "short windows": Draw(sliding=((True, False), ()), windows=(1, 2, 5)),
    "always scaled": Draw(rope=("linear",), rotary=(25,)),
    "equal depths": Draw(encoder_layers="equal", layers=(1, 2, 3)),
}


def strange(name: str) -> Family:
    task = "SEQ_2_SEQ_LM" if STRANGE[name].encoder_layers != "none" else "CAUSAL_LM"
    return replace(PLAIN, name=name, draw=STRANGE[name], task=task)


def differences(family: Family, placed: bool, size: int) -> list[tuple[tuple[str, ...], bool]]:
    """Combinations of which what is written down says otherwise than what can be drawn, and whether they can be."""
    dimensions, holding = dimensions_of(placed), reasons(Kind(family, placed))
    all_of_it = space(drawn_from(family, placed), placed)
    found: list[tuple[tuple[str, ...], bool]] = []
    for some in combinations(dimensions, size):
        for classes in product(*(dimension.classes for dimension in some)):
            possible = all_of_it.possible(dict(zip((d.name for d in some), classes, strict=True)))
            if possible == any(reason.covers(classes) for reason in holding):
                found.append((classes, possible))
    return found


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_called_impossible_is_exactly_what_cannot_be_drawn(name: str, placed: bool) -> None:
    """Two accounts of it: reasons in words, and the values that strategies draw."""
    sizes = (1, PAIR, TRIPLE) if not placed or name in ("gemma3", "t5") else (1, PAIR)
    assert [found for size in sizes for found in differences(family_named(name), placed, size)] == []


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("name", STRANGE)
def test_of_a_family_of_another_repository_nothing_is_called_impossible_that_can_be_drawn(
    name: str, placed: bool
) -> None:
    family = strange(name)
    assert [classes for size in (1, PAIR) for classes, possible in differences(family, placed, size) if possible] == []
    assert cover(drawn_for(family, placed), Kind(family, placed), PAIR).missing == frozenset()


def test_every_reason_holds_for_somebody() -> None:
    kinds = [
        Kind(family, placed) for family in [*families().values(), *map(strange, STRANGE)] for placed in (False, True)
    ]
    assert [reason.words for reason in REASONS if not any(reason.holds(kind) for kind in kinds)] == []


# -- counting ---------------------------------------------------------------------------------------------------------
def test_a_class_that_nothing_reaches_is_missing_and_not_called_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = Dimension(
        name="made up",
        classes={"never_seen": lambda case: len(case.rows) > 99, "always_seen": lambda case: len(case.rows) <= 99},
    )
    monkeypatch.setattr(counting, "DIMENSIONS", (*DIMENSIONS, made_up))
    one, pairs = (reach("gpt2", False, "standard", 0, size) for size in (1, PAIR))
    assert one.missing == {("never_seen",)}
    assert ("one_row", "never_seen") in pairs.missing
    assert all("never_seen" in pair for pair in pairs.missing)
    assert not [words for words in pairs.impossible if "seen" in words]


def test_one_case_reaches_one_class_of_each_dimension() -> None:
    case = met("opt", False, "quick", 0)[0]
    whole = len(dimensions_of(False))
    assert len(cover([case], Kind(family_named("opt")), 1).reached) == whole
    assert len(cover([case], Kind(family_named("opt")), PAIR).reached) == whole * (whole - 1) // 2
    assert cover([], Kind(family_named("opt")), 1).share == 0


def test_a_union_misses_what_no_family_reaches_that_could() -> None:
    one = Coverage(size=1, reached=frozenset({("a",)}), missing=frozenset({("b",), ("c",)}))
    other = Coverage(size=1, reached=frozenset({("b",)}), missing=frozenset({("d",)}))
    both = union([one, other])
    assert both.reached == {("a",), ("b",)}
    assert both.missing == {("c",), ("d",)}
    assert (both.possible, both.share) == (4, 0.5)
