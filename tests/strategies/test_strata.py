"""What is drawn: every boundary in every budget, only Cases that can be built, and the same ones for everybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from conformance.core.case import Case, from_json
from conformance.core.features import FEATURES, features
from conformance.engine.search import PROFILES
from conformance.families import Family, family_named, flagships
from conformance.families.build import build, config
from conformance.strategies import STRATA, cases

ROOT = Path(__file__).parent.parent.parent
NAMES = tuple(flagships())
BY_RELATION = {
    "right_padded",
    "mask_omitted",
    "bool_mask",
    "float_mask",
    "embeds",
    "given_positions",
    "shifted_positions",
    "real_tokens",
}
"""Features that only a relation gives to a Case."""


ABOUT_MAPS = set(FEATURES) - set(list(FEATURES)[: list(FEATURES).index("beams")])
"""Features of placed models, which have strata of their own: `test_maps.py`."""


def drawn(family: Family, start: int, examples: int = PROFILES["quick"]) -> list[Case]:
    """The Cases that one item meets, as the engine draws them."""
    met: list[Case] = []
    for stratum in STRATA:

        @seed(start)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(family, stratum))
        def meet(case: Case) -> None:
            met.append(case)

        meet()
    return met


def possible(family: Family) -> set[str]:
    """The features that a Case of the family can have, from what its file says."""
    draw = family.draw
    windows = {"sliding", "n_below_window", "n_reaches_window", "window_edge", "crosses_window"}
    needed = {
        "even_encoder_layers": draw.encoder_layers != "none",
        "more_encoder_layers": draw.encoder_layers == "free",
        "grouped_query": draw.grouped,
        "own_head_dim": draw.own_head_dim,
        "tied": True in draw.tied,
        "scaled_rope": bool(set(draw.rope) - {"", "default"}),
        "alternating": any(len(set(pattern)) > 1 for pattern in draw.sliding),
        **dict.fromkeys(windows, any(any(pattern) for pattern in draw.sliding)),
    }
    return {name for name in FEATURES if name not in BY_RELATION | ABOUT_MAPS and needed.get(name, True)}


def boundaries(case: Case) -> set[str]:
    """The boundaries of FACTS.md 1 on which a Case stands."""
    n, window = case.prefix.length, case.roles.window if any(case.roles.sliding) else None
    holds = {
        "n = 1": n == 1,
        "n = prompt": n == case.longest > 1,
        "n > prompt": n > case.longest,
        "prompt of 1": case.longest == 1,
        "all pads but one": case.padded and any(row.length == 1 for row in case.rows) and case.longest >= 4,
        "3 layers, odd": case.roles.layers == 3,
        "even layers": case.roles.layers % 2 == 0,
        "window - 1": window is not None and n == window - 1,
        "window": n == window,
        "window < n": window is not None and window < n,
        "padded, window <= n": case.padded and window is not None and window <= n,
    }
    return {name for name, here in holds.items() if here}


def reached(family: Family, start: int, examples: int) -> tuple[set[str], set[str]]:
    met = drawn(family, start, examples)
    return set().union(*map(features, met)), set().union(*map(boundaries, met))


def expected_boundaries(family: Family) -> set[str]:
    plain = {"n = 1", "n = prompt", "n > prompt", "prompt of 1", "all pads but one", "3 layers, odd", "even layers"}
    return plain | ({"window - 1", "window", "window < n", "padded, window <= n"} if family.draw.windows else set())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("start", "examples"), [(0, PROFILES["quick"]), *((start, 1) for start in (1, 2, 3, 1234))])
def test_every_feature_and_boundary_is_reached_with_any_seed(name: str, start: int, examples: int) -> None:
    """By construction: already the first Case of each stratum, which no seed changes, reaches all of them."""
    seen, stood = reached(family_named(name), start, examples)
    assert seen >= possible(family_named(name))
    assert stood >= expected_boundaries(family_named(name))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_family_cannot_have_is_never_drawn(name: str) -> None:
    seen, _ = reached(family_named(name), 7, 6)
    assert seen == possible(family_named(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_drawn_case_is_valid(name: str) -> None:
    family = family_named(name)
    for case in drawn(family, 1):
        assert from_json(case.to_json()) == case
        assert case.roles.heads % case.roles.kv_heads == 0
        assert (case.roles.window > 0) == any(case.roles.sliding)
        assert case.prefix.length + case.longest + case.new_tokens <= case.roles.positions
        assert case.padding == "left"
        config(case)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_case_of_every_stratum_builds(name: str) -> None:
    for case in drawn(family_named(name), 0, 1):
        assert sum(parameter.numel() for parameter in build(case).parameters()) < 20_000


def test_no_family_has_too_little_room() -> None:
    """``Draw.room``, which a family file is held against, says how many positions a drawn Case takes at most."""
    for family in flagships().values():
        taken = [c.prefix.length + c.longest + c.new_tokens for c in drawn(family, 3, 6)]
        assert max(taken) <= family.draw.room


@pytest.mark.parametrize("name", ["llama", "gemma3", "t5"])
def test_the_same_seed_draws_the_same_cases_and_another_does_not(name: str) -> None:
    family = family_named(name)
    assert drawn(family, 5) == drawn(family, 5)
    assert drawn(family, 5) != drawn(family, 6)


def test_two_strategies_of_one_stratum_draw_the_same_cases() -> None:
    """Every clause of a family makes its own strategy; that they meet the same Cases is what the memo lives on."""
    assert drawn(family_named("llama"), 0, 12) == drawn(family_named("llama"), 0, 12)
    assert len(set(drawn(family_named("llama"), 0))) == PROFILES["quick"] * len(STRATA)


FRESH = """
import sys
sys.path[:0] = {paths!r}
from hypothesis import HealthCheck, Phase, given, seed, settings
if {noisy!r}:
    import extra_constants, conformance.runs.lab, conformance.engine.known, conformance.session.events
from conformance.families import family_named
from conformance.strategies import STRATA, cases
for stratum in STRATA:
    @seed(0)
    @settings(max_examples=12, database=None, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(cases(family_named("gemma3"), stratum))
    def meet(case):
        print(case.to_json())
    meet()
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
    assert outputs[0].splitlines() == [case.to_json() for case in drawn(family_named("gemma3"), 0, 12)]
