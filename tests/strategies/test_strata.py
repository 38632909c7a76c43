"""What is drawn: every boundary in every budget, only Cases that can be built, and the same ones for everybody."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.case import Case, from_json
from conformance.core.dimensions import DIMENSIONS, OF_METHODS
from conformance.core.features import FEATURES, features
from conformance.engine.search import drawn
from conformance.families import Family, families, family_named, flagships
from conformance.families.build import build, config
from conformance.methods import METHODS, method_named
from conformance.strategies import strata

ROOT = Path(__file__).parent.parent.parent
NAMES = tuple(flagships())
BY_RELATION = {"right_padded", "given_positions", "decoder_mask", "another_cache", "guessed"} | {
    name for dimension in DIMENSIONS if dimension.of in ("asked", "told") for name in dimension.classes
}
"""Features that only a relation, or a story, gives to a Case."""
OF_A_METHOD = {name for dimension in OF_METHODS for name in dimension.classes}
"""Features of what only some methods have."""
ABOUT_MAPS = {name for dimension in DIMENSIONS if dimension.of == "placed" for name in dimension.classes}
ABOUT_MAPS |= set(list(FEATURES)[list(FEATURES).index("placed") :])
"""Features of placed models, which have strata of their own: `test_maps.py`."""


@cache
def met(name: str, start: int, examples: int = 1) -> tuple[Case, ...]:
    """The Cases that one item meets."""
    return tuple(drawn(name, stratum, start) for stratum in strata(family_named(name), examples, start))


def possible(family: Family) -> set[str]:
    """The features that a Case of the family can have, from what its file says."""
    draw = family.draw
    windows = {"sliding", "n_reaches_window", "n_below_window", "window_edge", "crosses_window", "window_holds_all"}
    windows |= {"text_leaves_window", "n_below_window_by_one", "n_fills_window", "n_above_window", "every_layer_slides"}
    an_encoder = {"even_encoder_layers", "odd_encoder_layers", "equal_encoder_layers"}
    needed = {
        **dict.fromkeys(an_encoder, family.encoder_decoder),
        **dict.fromkeys(("more_encoder_layers", "fewer_encoder_layers"), draw.encoder_layers == "free"),
        **dict.fromkeys(("grouped_query", "several_kv_heads", "one_shared_kv_head"), draw.grouped),
        **dict.fromkeys(("own_head_dim", "heads_narrower", "heads_wider"), draw.own_head_dim),
        "tied": True in draw.tied,
        "scaled_rope": bool(set(draw.rope) - {"", "default"}),
        "linear_rope": "linear" in draw.rope,
        "llama3_rope": "llama3" in draw.rope,
        "part_of_heads_rotated": 25 in draw.rotary,
        **dict.fromkeys(("alternating", "some_layers_slide"), any(len(set(pattern)) > 1 for pattern in draw.sliding)),
        **dict.fromkeys(windows, any(any(pattern) for pattern in draw.sliding)),
    }
    return {name for name in FEATURES if name not in BY_RELATION | OF_A_METHOD | ABOUT_MAPS and needed.get(name, True)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 1, 2, 3, 1234])
def test_every_feature_is_reached_with_any_seed(name: str, start: int) -> None:
    """By construction: whatever the seed, each covering array has every pair of classes."""
    assert set().union(*map(features, met(name, start))) == possible(family_named(name))


def boundaries(case: Case) -> set[str]:
    """The boundaries of hazards that are known, each on the edge between two classes."""
    n, window = case.prefix.length, case.roles.window if any(case.roles.sliding) else None
    holds = {
        "n = 1": n == 1,
        "n = prompt": n == case.longest > 1,
        "prompt of 1": case.longest == 1,
        "all pads but one": case.padded and any(row.length == 1 for row in case.rows),
        "several kv heads, padded": 1 < case.roles.kv_heads < case.roles.heads and case.padded,
        "window - 1": window is not None and n == window - 1,
        "window": n == window,
        "padded, window <= n": case.padded and window is not None and window <= n,
        "encoder of fewer layers, padded": 0 < case.roles.encoder_layers < case.roles.layers and case.padded,
    }
    return {name for name, here in holds.items() if here}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 1, 2, 3, 1234])
def test_every_boundary_is_reached_with_any_seed(name: str, start: int) -> None:
    draw = family_named(name).draw
    expected = {"n = 1", "n = prompt", "prompt of 1", "all pads but one"}
    expected |= {"several kv heads, padded"} if draw.grouped else set()
    expected |= {"window - 1", "window", "padded, window <= n"} if draw.windows else set()
    expected |= {"encoder of fewer layers, padded"} if draw.encoder_layers == "free" else set()
    assert set().union(*map(boundaries, met(name, start))) == expected


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_case_has_the_classes_of_its_row(name: str, placed: bool) -> None:
    for stratum in strata(family_named(name), 1, 2, placed):
        case = drawn(name, stratum, 2)
        assert {d.name: d.class_of(case) for d in DIMENSIONS if d.counts(case)}.items() >= set(stratum.classes)


@pytest.mark.parametrize("name", NAMES)
def test_every_drawn_case_is_valid(name: str) -> None:
    for case in met(name, 1):
        assert from_json(case.to_json()) == case
        assert case.roles.heads % case.roles.kv_heads == 0
        assert (case.roles.window > 0) == any(case.roles.sliding)
        assert case.prefix.length + case.longest + case.new_tokens <= case.roles.positions
        assert case.padding == "left"
        config(case)


@pytest.mark.parametrize("name", NAMES)
def test_every_drawn_case_builds_a_small_model(name: str) -> None:
    for case in met(name, 0)[::4]:
        assert sum(parameter.numel() for parameter in build(case).parameters()) < 30_000  # measured: 26,000


def test_no_family_has_too_little_room() -> None:
    """``Draw.room``, which a family file is held against, says how many positions a drawn Case takes at most."""
    for name, family in flagships().items():
        taken = [c.prefix.length + c.longest + c.new_tokens for c in met(name, 3, 2)]
        assert max(taken) <= family.draw.room


@pytest.mark.parametrize("name", NAMES)
def test_the_first_case_is_the_simplest(name: str) -> None:
    family = family_named(name)
    first = met(name, 0)[0]
    assert first == Case(family=name, roles=first.roles)
    assert first.roles == replace(family.draw.simplest, positions=family.draw.positions[0])
    assert [met(name, start)[0] for start in (1, 2)] == [first] * 2


@pytest.mark.parametrize("name", ["llama", "gemma3", "t5"])
def test_the_same_seed_draws_the_same_cases_and_another_does_not(name: str) -> None:
    before = met(name, 5)
    drawn.cache_clear()
    met.cache_clear()
    assert met(name, 5) == before
    assert met(name, 5)[1:] != met(name, 6)[1:]
    assert len(set(met(name, 5))) == len(met(name, 5))


def test_families_meet_different_combinations() -> None:
    """Three classes that one family does not have together another one may."""
    rows = [{stratum.classes for stratum in strata(family_named(name), 1, 0)} for name in ("bloom", "opt", "gpt2")]
    assert len(rows[0] | rows[1] | rows[2]) > 1.5 * max(map(len, rows))


def test_every_example_of_a_pair_is_in_an_array_of_its_own() -> None:
    family = family_named("opt")
    once, twice = list(strata(family, 1, 0)), list(strata(family, 2, 0))
    assert twice[: len(once)] == once
    assert {s.classes for s in twice[len(once) :]} - {s.classes for s in once}


def test_what_means_nothing_to_a_method_is_not_drawn() -> None:
    for method in METHODS:
        for stratum in strata(family_named("opt"), 1, 0):
            assert drawn("opt", stratum, 0, method).method == method


@pytest.mark.parametrize("placed", [False, True])
def test_methods_differ_in_their_prefix_alone(placed: bool) -> None:
    """What only one method has is drawn last, so that they share the base models and their texts."""
    for stratum in strata(family_named("opt"), 1, 0, placed):
        one, *others = (drawn("opt", stratum, 0, method) for method in METHODS)
        assert {replace(other, method=one.method, prefix=one.prefix) for other in others} == {one}


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("name", families())
def test_every_class_of_what_only_some_methods_have_is_drawn(name: str, start: int) -> None:
    """Of few Cases, too: how many virtual tokens are frozen also depends on how many there are."""
    for dimension in OF_METHODS:
        having = [m for m in METHODS if dimension.field.rpartition(".")[2] in method_named(m).varied]
        assert having
        for method in having:
            rows = strata(family_named(name), 1, start, method=method)
            met = {dimension.class_of(drawn(name, stratum, start, method)) for stratum in rows}
            assert met == set(dimension.classes) or (dimension.field == "prefix.frozen" and len(met) > 1)


FRESH = """
import sys
sys.path[:0] = {paths!r}
if {noisy!r}:
    import extra_constants, conformance.runs.lab, conformance.engine.known, conformance.session.events
from conformance.engine.search import drawn
from conformance.families import family_named
from conformance.strategies import strata
for placed in (False, True):
    for stratum in strata(family_named("gemma3"), 1, 0, placed):
        print(drawn("gemma3", stratum, 0).to_json())
"""


def test_other_modules_do_not_change_what_is_drawn(tmp_path: Path) -> None:
    """Hypothesis mixes constants of imported local modules into open-ended draws; there must be none."""
    constants = "".join(f"A{i} = {i * 101}\nB{i} = 'gemma{i}'\n" for i in range(200))
    (tmp_path / "extra_constants.py").write_text(constants, "utf-8")
    outputs = []
    for noisy in (False, True):
        code = FRESH.format(paths=[str(ROOT), str(tmp_path)], noisy=noisy)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    plain = [case.to_json() for case in met("gemma3", 0)]
    assert outputs[0].splitlines()[: len(plain)] == plain


def test_every_shipped_family_can_be_drawn() -> None:
    assert all(len(met(name, 0)) >= 9 for name in families())
