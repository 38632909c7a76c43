"""The kinds of cache of the installed transformers: what its names give, and what becomes of one that is handed in."""

from __future__ import annotations

from unittest import mock

import pytest
from msgspec.structs import replace

from conformance.clauses.follow_ups import other_caches
from conformance.compat import cache_kinds, caches
from conformance.core.case import HANDED_IN, Case, Prefix, Roles, Row
from conformance.core.relations import with_cache
from conformance.families.build import build
from conformance.runs.lab import Lab

PLAIN = Roles(head_dim=4, width=4, activation="silu", rope="default")
WINDOW = replace(PLAIN, window=3, sliding=(True,))
T5 = Roles(encoder_layers=1, head_dim=4, width=4, activation="relu")
BARE = {
    name: Case(family=name, roles=roles, prefix=Prefix(length=0), rows=(Row(length=3),), new_tokens=3)
    for name, roles in {"llama": PLAIN, "mistral": WINDOW, "t5": T5}.items()
}


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("kind", ["dynamic", *cache_kinds.implementations()])
def test_what_is_said_of_a_name_is_what_the_base_model_makes(name: str, kind: str) -> None:
    got = Lab("peft").generate(with_cache(BARE[name], kind))
    assert got.cache_kind == ("StaticCache" if cache_kinds.is_static(kind) else "DynamicCache")


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("kind", HANDED_IN)
def test_the_base_model_fills_what_is_handed_in(name: str, kind: str) -> None:
    got = Lab("peft").generate(with_cache(BARE[name], kind))
    assert got.cache_kind == f"{'StaticCache' if kind == 'given_static' else 'DynamicCache'}, which was handed in"
    assert got.final[0].length == (1 if name == "t5" else 3) + 2
    assert got.logits.equal(Lab("peft").generate(BARE[name]).logits) or kind == "given_static"


def test_what_this_machine_cannot_have_is_not_asked_for() -> None:
    with mock.patch("torch.cuda.is_available", return_value=False):
        cache_kinds.implementations.cache_clear()
        names = cache_kinds.implementations()
    cache_kinds.implementations.cache_clear()
    assert {"static", "sliding_window", "hybrid"} <= set(names)
    assert not {"dynamic", "offloaded", "offloaded_static"} & set(names)
    with mock.patch("torch.cuda.is_available", return_value=True):
        assert {"offloaded", "offloaded_static"} <= set(cache_kinds.implementations())
    cache_kinds.implementations.cache_clear()


def test_all_kinds_have_their_turn() -> None:
    case = BARE["llama"]
    asked = [follow.cache for seed in range(100) for follow in other_caches(replace(case, seed=seed))]
    assert set(asked) == {*HANDED_IN, *cache_kinds.implementations()}
    assert asked.count("static") == 50


def test_a_cache_is_told_from_another_one_like_it() -> None:
    model = build(BARE["llama"])
    one, other = (cache_kinds.empty_cache(model, False, 4, 4) for _ in range(2))
    assert cache_kinds.told_kind(one) == "DynamicCache"
    assert cache_kinds.told_kind(one, one) == "DynamicCache, which was handed in"
    assert cache_kinds.told_kind(one, other) == "DynamicCache, another one than was handed in"
    assert cache_kinds.told_kind(None) == "NoneType"
    other.offloading = True
    assert cache_kinds.told_kind(other) == "DynamicCache, offloaded"


@pytest.mark.parametrize("name", BARE)
def test_what_is_moved_is_held_by_the_other(name: str) -> None:
    case = replace(BARE[name], prefix=Prefix(length=2))
    model, lab = build(case), Lab("reference")
    given = cache_kinds.empty_cache(model, False, 9, 9)
    held = cache_kinds.moved_into(given, caches.filled_cache(model, lab.injected(case).cache, keep_all=True))
    assert held is given
    assert caches.read_cache(given, 1, 1)[0].length == 2
    assert not cache_kinds.of_fixed_size(given)
    assert cache_kinds.of_fixed_size(cache_kinds.empty_cache(model, True, 9, 9))
    assert not cache_kinds.of_fixed_size(None)
