"""Stories: every step may be taken, nearly every kind of step follows every other, and the same seed draws the same story."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import get_args

import pytest
from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.story import Act, Do, legal
from conformance.engine.search import STORIES, Budget, drawn, with_story
from conformance.families import families, family_named, is_shipped
from conformance.methods import METHODS
from conformance.strategies import strata
from conformance.strategies.coverage import NEVER_FOLLOWS, successions

pytestmark = pytest.mark.light

EACH = 3
"""Stories of each family and method in the quick profile: as many as the clause asks for."""


@cache
def quick(seed: int = 0) -> tuple[Case, ...]:
    shipped = [family for family in families().values() if is_shipped(family.name)]
    return tuple(
        with_story(drawn(family.name, stratum, seed, method), number, Budget(seed=seed))
        for family in shipped
        for method in METHODS
        for number, stratum in enumerate(list(strata(family, 1, seed, False, method))[:EACH])
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_every_story_is_legal_as_long_as_told_and_ends_with_a_question(seed: int) -> None:
    for case in quick(seed):
        assert legal(case.begun, case.story) == case.story
        assert len(case.story) == STORIES[1]
        assert case.story[-1] == Act()


def test_the_rest_of_the_case_is_what_all_clauses_visit() -> None:
    llama = family_named("llama")
    first = next(iter(strata(llama, 1, 0)))
    plain = drawn("llama", first, 0)
    assert replace(with_story(plain, 0, Budget()), story=()) == plain


def test_a_story_depends_on_family_method_number_and_seed() -> None:
    plain = Case(family="llama")
    same = with_story(plain, 0, Budget()).story
    assert with_story(replace(plain, new_tokens=2), 0, Budget()).story == same
    others = [
        with_story(plain, 1, Budget()),
        with_story(plain, 0, Budget(seed=1)),
        with_story(replace(plain, family="opt"), 0, Budget()),
        with_story(replace(plain, method="CARTRIDGE"), 0, Budget()),
    ]
    assert same not in [case.story for case in others]


def test_larger_profiles_tell_longer_stories() -> None:
    assert [len(with_story(Case(family="llama"), 0, Budget(examples=n)).story) for n in (1, 2, 4, 20)] == [8, 8, 12, 12]


def test_in_the_union_of_all_families_nearly_every_step_follows_every_other() -> None:
    reached, missing = successions(quick())
    # Measured: 134 of 156.
    assert len(reached) >= 125
    assert not reached & NEVER_FOLLOWS
    assert not reached & missing
    assert len(reached | missing | NEVER_FOLLOWS) == len(get_args(Do)) ** 2


def test_every_kind_of_step_is_in_several_stories() -> None:
    counted = Counter(do for case in quick() for do in {act.do for act in case.story})
    assert set(counted) == set(get_args(Do))
    assert min(counted.values()) >= 8, counted
