"""How a new adapter is told to begin."""

from __future__ import annotations

import pytest
import torch

from conformance.core.case import Case, Prefix
from conformance.core.relations import begun_as
from conformance.families import family_named
from conformance.families.vocabulary import encode_text
from conformance.methods import METHODS, method_named
from conformance.methods.beginning import told_text
from conformance.runs.lab import Lab

LLAMA = family_named("llama")


@pytest.mark.parametrize(("seed", "length"), [(0, 2), (1, 5), (2, 7)])
def test_a_text_is_shorter_than_the_virtual_tokens_as_long_or_longer(seed: int, length: int) -> None:
    case = Case(family="llama", prefix=Prefix(length=5, seed=seed, begins="text"))
    assert len(encode_text(told_text(case))) == length
    assert len(encode_text(told_text(begun_as(case, "cached_text")))) == 5 + length
    assert len(set(told_text(case))) == length


def test_a_short_text_is_repeated_and_cut() -> None:
    case = Case(family="llama", method="PROMPT_TUNING", prefix=Prefix(length=5, begins="text"))
    method, table = method_named("PROMPT_TUNING"), torch.arange(97.0)[:, None]
    first, second = encode_text(told_text(case))
    begun = method.begun(case, method.layout(case), table).exactly["embedding.weight"]
    assert begun[:, 0].tolist() == [first, second, first, second, first]


def test_of_source_tasks_there_are_the_average_and_the_last() -> None:
    case = Case(family="llama", method="MULTITASK_PROMPT_TUNING", prefix=Prefix(length=2))
    lab = Lab("reference")
    average, last, shared = (
        lab.begun(begun_as(case, way)).exactly for way in ("average_task", "exact_task", "shared_prompt")
    )
    source = method_named(case.method).source(case, lab.layout(case))["prefix_task_cols"]  # type: ignore[attr-defined]
    assert torch.equal(average["prefix_task_cols"][0], (source[0] + source[1]) / 2)
    assert torch.equal(last["prefix_task_cols"][0], source[1])
    assert set(shared) == {"embedding.weight"}


@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_told_is_in_no_setting(name: str) -> None:
    case = Case(family="llama", method=name, prefix=Prefix(length=2))
    assert not [setting for setting in method_named(name).settings(case) if "init" in setting]


def test_no_window_has_dropped_what_a_cache_is_asked_for() -> None:
    from conformance.core.case import Roles

    roles, method = Roles(window=5, sliding=(True,)), method_named("CARTRIDGE")
    ways = [
        method.beginnings(Case(family="mistral", roles=roles, prefix=Prefix(length=n)), family_named("mistral"))
        for n in (1, 4, 5)
    ]
    assert ways == [("cache", "cached_text"), ("cached_text",), ()]
