"""The reference wrapper's static cache: as large as it was told, with the prefix in front, and nothing to see in empty slots."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from conformance.compat import caches
from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.relations import with_cache
from conformance.core.signals import NotApplicable
from conformance.families.build import build
from conformance.runs.lab import Lab

LLAMA = Roles(layers=2, head_dim=4, width=4, activation="silu", rope="default")
WINDOW = Roles(layers=2, head_dim=4, width=4, activation="silu", rope="default", window=3, sliding=(True,))
T5 = Roles(encoder_layers=1, head_dim=4, width=4, activation="relu")
CASES = {
    "llama": Case(family="llama", roles=LLAMA, prefix=Prefix(length=2), rows=(Row(), Row(length=3)), new_tokens=3),
    "mistral": Case(family="mistral", roles=WINDOW, prefix=Prefix(length=4), rows=(Row(length=3),), new_tokens=3),
    "t5": Case(family="t5", roles=T5, prefix=Prefix(length=2), rows=(Row(length=3),), new_tokens=3),
}


@pytest.fixture(params=CASES)
def static(request: pytest.FixtureRequest) -> Case:
    return with_cache(CASES[request.param], "static")


def test_it_is_filled_slot_by_slot_and_never_grows(static: Case) -> None:
    seen = Lab("reference").generate(static)
    n, prompt = static.prefix.length, 1 if static.roles.encoder_layers else static.longest
    lengths = [layers[-1].length for layers in (*(forward.cache for forward in seen.forwards), seen.final)]
    assert lengths == [n, n + prompt, n + prompt + 1, n + prompt + 2]
    stored = {layer.keys.shape[-2] for layer in (*seen.forwards[0].cache, *seen.final) if layer.keys is not None}
    assert len(stored) == 1
    assert stored.pop() > lengths[-1]


def test_it_holds_the_prefix_and_zeros(static: Case) -> None:
    lab = Lab("reference")
    for layer, (keys, values) in zip(lab.generate(static).forwards[0].cache, lab.injected(static).cache, strict=True):
        for held, expected in ((layer.keys, keys), (layer.values, values)):
            assert held is not None
            assert torch.equal(held[:, :, : layer.length], expected.expand(len(static.rows), -1, -1, -1))
            assert not held[:, :, layer.length :].any()


def test_without_slots_it_is_dynamic() -> None:
    cache = caches.filled_cache(build(CASES["llama"]), Lab("reference").injected(CASES["llama"]).cache)
    assert caches.read_cache(cache, 2, 1)[0].length == cache.layers[0].keys.shape[-2] == 2


def test_a_release_without_static_layers_has_none_and_says_so() -> None:
    with (
        mock.patch("conformance.runs.makers.static_layers", return_value=False),
        pytest.raises(NotApplicable, match="no static cache"),
    ):
        Lab("reference").generate(with_cache(CASES["llama"], "static"))
