"""What is found out of each flagship, by its family file or by a probe, and that the list stays one and closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from torch import nn

import conformance
from conformance.core.case import Case, Row
from conformance.core.errors import UserError
from conformance.core.features import FEATURES
from conformance.core.signals import NotApplicable
from conformance.families import Family, family_named, flagships, probes, traits
from conformance.families.traits import TRAITS, Trait

FOUND = {
    "bloom": {"distance_bias"},
    "gemma3": {"rotary", "counts_pads"},
    "gpt2": {"learned_positions", "counts_pads"},
    "gpt_neox": {"rotary", "counts_pads"},
    "idefics": {"rotary", "with_images", "several_stacks"},
    "llama": {"rotary", "counts_pads"},
    "mistral": {"rotary", "counts_pads"},
    "opt": {"learned_positions"},
    "qwen2": {"rotary", "counts_pads"},
    "t5": {"distance_bias", "encoder_decoder", "several_stacks"},
}
"""With the pairs that have these tests."""


def of(name: str) -> frozenset[str]:
    return traits.traits(Case(family=name))


@pytest.mark.parametrize("name", flagships())
def test_each_flagship_has_its_traits(name: str) -> None:
    assert of(name) == FOUND[name]


def test_a_trait_is_no_second_name_of_a_feature() -> None:
    assert not set(TRAITS) & set(FEATURES)


@pytest.mark.parametrize("name", TRAITS)
def test_a_trait_says_in_a_sentence_what_it_is(name: str) -> None:
    assert TRAITS[name].statement.endswith(".")
    assert name.replace("_", "").isalpha()


def test_a_model_has_traits_whatever_the_case_asks_of_it() -> None:
    assert traits.traits(Case(family="llama", rows=(Row(length=3), Row()), padding="right")) == FOUND["llama"]


def test_a_model_of_the_old_bloom_has_a_fused_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.setattr(transformers.BloomForCausalLM, "_convert_to_bloom_cache", None, raising=False)
    assert probes.fused_cache(family_named("bloom"))
    assert not probes.fused_cache(family_named("llama"))


def test_a_probe_is_asked_once_for_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(family: Family) -> bool:
        asked.append(family.name)
        return True

    monkeypatch.setattr(traits, "TRAITS", {"counted": Trait("Counts.", counted)})
    traits._of_family.cache_clear()
    try:
        assert of("llama") == of("llama") == {"counted"}
        assert asked == ["llama"]
    finally:
        traits._of_family.cache_clear()


def test_a_model_that_cannot_be_built_has_shown_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(case: Case) -> None:
        raise NotApplicable("this version's config class has no field for heads")

    monkeypatch.setattr(probes, "build", refuse)
    assert not any(TRAITS[name].holds(family_named("llama")) for name in ("counts_pads", "several_stacks"))
    assert TRAITS["rotary"].holds(family_named("llama"))


def test_a_family_file_that_is_wrong_is_the_users_to_mend() -> None:
    """As it is wherever else its model is built."""
    with pytest.raises(UserError):
        TRAITS["counts_pads"].holds(replace(family_named("llama"), name="nowhere"))


def test_numbers_inside_the_layers_are_no_stack_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    experts = nn.ModuleDict({"experts": nn.ModuleList([nn.Identity()])})
    model = nn.ModuleDict({"model": nn.ModuleDict({"layers": nn.ModuleList([experts])})})
    monkeypatch.setattr(probes, "build", lambda case: model)
    assert not probes.several_stacks(family_named("llama"))
    model["tower"] = nn.Sequential(nn.Identity())
    assert probes.several_stacks(family_named("llama"))


def test_listing_them_imports_nothing_heavy() -> None:
    code = "import sys, conformance.families.traits as t; t.TRAITS; print(*sys.modules)"
    root = Path(conformance.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert not {"torch", "transformers", "peft", "hypothesis"} & set(done.stdout.split())
