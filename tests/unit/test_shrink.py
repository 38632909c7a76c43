from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect
from msgspec.structs import replace

from conformance.core.case import Case, Placement, Prefix, Roles, Row
from conformance.core.features import FEATURES
from conformance.core.story import Act
from conformance.engine.shrink import COUPLED, KEPT, candidates, shrink
from conformance.families import flagships
from conformance.strategies import cases, strata

pytestmark = pytest.mark.light

LARGE = Case(
    family="llama",
    roles=Roles(layers=4, heads=4, kv_heads=2, head_dim=4, width=24, tied=True, rope="llama3"),
    prefix=Prefix(length=6, projection=4, seed=7),
    rows=(Row(length=3, seed=4), Row(length=5, seed=6), Row(seed=8)),
    new_tokens=8,
    attention="eager",
    seed=9,
)
PLACED = replace(
    LARGE,
    beams=2,
    decoding="sampled",
    cache="static",
    decoder_mask="padded",
    limit="length",
    ends=True,
    streamed=True,
    labels="some",
    call="tuple",
    mode="train",
    checkpointing="after",
    placement=Placement(
        way="pretrained",
        layers=(2, "cpu", 1),
        others=(1, "disk", 2),
        spelling="device",
        order="reversed",
        merged=True,
        adapter="loaded",
    ),
)
STORY = (
    Act(do="add", adapter="second", other_length=True, seed=3),
    Act(do="save"),
    Act(do="load", adapter="second", source="second"),
    Act(do="load", adapter="third", source="default"),
    Act(do="resume", source="second"),
    Act(decoding="sampled"),
)
AUTOMATIC = replace(LARGE, placement=Placement(way="sequential", memory=(60, 60, 60)))
SMALLEST = Case(family="llama", roles=Roles(head_dim=4, width=4, rope="default"), new_tokens=1)
EVERY = st.one_of(
    [
        cases(kind, stratum)
        for kind in flagships().values()
        for placed in (False, True)
        for stratum in strata(kind, 1, 0, placed)
    ]
)


def test_what_needs_nothing_shrinks_to_the_smallest_case() -> None:
    smallest = Roles(head_dim=4, width=4, rope="default")
    assert shrink(LARGE, lambda _: True) == Case(family="llama", roles=smallest, new_tokens=1)


@pytest.mark.parametrize(
    ("needed", "changes"),
    [
        (lambda c: c.roles.layers % 2 == 0, {"roles": Roles(layers=2, head_dim=4, width=4, rope="default")}),
        (lambda c: c.prefix.projection > 0, {"prefix": Prefix(projection=4)}),
        (lambda c: c.prefix.length == c.longest > 1, {"prefix": Prefix(length=2), "rows": (Row(length=2),)}),
        (lambda c: len(c.rows) > 1, {"rows": (Row(), Row())}),
        (lambda c: c.padded, {"rows": (Row(length=2), Row())}),
        (lambda c: c.attention == "eager", {"attention": "eager"}),
        (lambda c: c.new_tokens >= 5, {"new_tokens": 5}),
        (lambda c: c.roles.rope == "llama3", {"roles": Roles(head_dim=4, width=4, rope="llama3")}),
        (lambda c: c.seed > 3, {"seed": 4}),
    ],
)
def test_what_is_needed_stays_and_the_rest_goes(needed: Callable[[Case], bool], changes: dict[str, object]) -> None:
    start = LARGE
    if not needed(start):
        start = replace(LARGE, prefix=Prefix(length=5))
    plain = Case(family="llama", roles=Roles(head_dim=4, width=4, rope="default"), new_tokens=1)
    assert shrink(start, needed) == replace(plain, **changes)


@pytest.mark.parametrize("start", [PLACED, AUTOMATIC])
def test_a_placed_case_stays_placed_and_ends_on_one_device(start: Case) -> None:
    assert shrink(start, lambda _: True) == replace(SMALLEST, placement=Placement(way="dispatched"))


@pytest.mark.parametrize(
    ("needed", "least"),
    [
        (lambda c: c.beams > 1, replace(SMALLEST, beams=2, placement=Placement(way="dispatched"))),
        (lambda c: c.cache == "static", replace(SMALLEST, cache="static", placement=Placement(way="dispatched"))),
        *(
            (FEATURES[feature], replace(SMALLEST, placement=Placement(**least)))  # type: ignore[arg-type]
            for feature, least in {
                "from_pretrained": {"way": "pretrained"},
                "adapter_loaded": {"way": "dispatched", "adapter": "loaded"},
                "merged_keys": {"way": "dispatched", "merged": True},
                "two_devices": {"way": "dispatched", "layers": (1,)},
                "offloaded": {"way": "dispatched", "layers": ("cpu",)},
                "on_disk": {"way": "dispatched", "others": ("disk",)},
                "lowest_not_first": {"way": "dispatched", "others": (1,)},
            }.items()
        ),
        (
            FEATURES["layers_apart"],
            replace(
                SMALLEST,
                roles=replace(SMALLEST.roles, layers=2),
                placement=Placement(way="dispatched", layers=(0, 1)),
            ),
        ),
    ],
)
def test_of_a_map_what_is_needed_stays_and_the_rest_goes(needed: Callable[[Case], bool], least: Case) -> None:
    assert shrink(PLACED, needed) == least


@pytest.mark.parametrize(
    ("needed", "least"),
    [
        (lambda c: len(c.story) > 1, (Act(), Act())),
        (lambda c: any(act.do == "resume" for act in c.story), (Act(do="save"), Act(do="resume"))),
        (
            lambda c: [act.do for act in c.story if act.source == "second"] == ["load"],
            (Act(do="add", adapter="second"), Act(do="save"), Act(do="load", source="second")),
        ),
    ],
)
def test_a_story_loses_the_steps_that_are_not_needed_and_those_that_hang_on_them(
    needed: Callable[[Case], bool], least: tuple[Act, ...]
) -> None:
    start = replace(LARGE, story=STORY)
    assert shrink(start, lambda case: needed(case) or case == start) == replace(SMALLEST, story=least)


def test_of_an_automatic_map_the_memory_shrinks() -> None:
    least = replace(SMALLEST, placement=Placement(way="auto", memory=(60,)))
    assert shrink(AUTOMATIC, lambda c: c.placement.automatic) == least


@given(EVERY, st.sampled_from(sorted(FEATURES)))
@settings(deadline=None, derandomize=True, database=None, max_examples=150)
def test_it_never_leaves_the_cases_that_fail_and_ends_where_no_step_fails(case: Case, feature: str) -> None:
    holds = FEATURES[feature]
    needed = holds if holds(case) else lambda c: not holds(c)
    tried: list[Case] = []

    def fails(candidate: Case) -> bool:
        tried.append(candidate)
        return needed(candidate)

    result = shrink(case, fails)
    assert needed(result)
    assert len(tried) == len(set(tried)), "a Case was run twice"
    assert not any(needed(simpler) for simpler in candidates(result) if simpler not in tried)
    assert len(tried) < 400


@given(EVERY)
@settings(deadline=None, derandomize=True, database=None, max_examples=50)
def test_every_step_changes_the_case_and_keeps_it_valid(case: Case) -> None:
    for simpler in candidates(case):
        assert simpler != case
        assert simpler.roles.heads % simpler.roles.kv_heads == 0
        assert (simpler.roles.encoder_layers > 0) == (case.roles.encoder_layers > 0)
        assert simpler.prefix.length >= 1
        assert simpler.padding == case.padding


def leaves(kind: inspect.StructType, path: str = "") -> Iterator[str]:
    """The paths of all fields of a record and of the records in it."""
    for field in kind.fields:
        inner = field.type.item_type if isinstance(field.type, inspect.VarTupleType) else field.type
        if isinstance(inner, inspect.StructType):
            yield from leaves(inner, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}"


LEAVES = set(leaves(inspect.type_info(Case)))  # type: ignore[arg-type]


def value_at(case: Case, path: str) -> object:
    """The value of a field; of a tuple of records that of each."""
    first, _, rest = path.partition(".")
    value = getattr(case, first)
    if not rest:
        return value
    return [value_at(one, rest) for one in value] if isinstance(value, tuple) else value_at(value, rest)


def size(value: object) -> int:
    return len(value) if isinstance(value, list) else 1


@pytest.mark.parametrize("path", sorted(LEAVES - set(KEPT)))
def test_every_field_shrinks_unless_it_is_said_why_not(path: str) -> None:
    """A new field shrinks by itself; one that does not, or that none of these Cases has, fails here."""
    deeper = Roles(layers=2, encoder_layers=4, heads=2, kv_heads=2, width=16, tied=True)
    more = replace(
        LARGE.prefix, scale="large", lstm_layers=2, frozen=1, tasks=2, rank=2, context="examples", radii="narrow"
    )
    starts = [PLACED, AUTOMATIC, replace(LARGE, roles=deeper, prefix=more, decoder_mask="padded", mode="train")]
    starts.append(replace(LARGE, story=STORY))
    changes = [(value_at(start, path), value_at(one, path)) for start in starts for one in candidates(start)]
    assert any(before != after for before, after in changes if size(before) == size(after))


def test_what_is_kept_or_coupled_is_a_field() -> None:
    assert set(KEPT) | COUPLED <= LEAVES
    assert not set(KEPT) & COUPLED
