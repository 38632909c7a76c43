"""The caches of old releases, which no installed model has any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conformance.compat import caches
from conformance.compat.positions import may_lie_beyond_text

ROWS, HEADS, LENGTH, SIZE = 2, 3, 4, 5


def layer(seed: int) -> tuple[Tensor, Tensor]:
    keys = torch.arange(ROWS * HEADS * LENGTH * SIZE, dtype=torch.float32).reshape(ROWS, HEADS, LENGTH, SIZE) + seed
    return keys, -keys


class Legacy:
    """Takes tuples of keys and values only."""

    _supports_cache_class = False

    def __init__(self, encoder: bool = False) -> None:
        self.config = SimpleNamespace(is_encoder_decoder=encoder)
        self.given: dict[str, Any] = {}

    def forward(self, **given: Any) -> Any:
        self.given = given
        return SimpleNamespace(past_key_values=[(*layer(7), *layer(8)), (*layer(9), *layer(10))])


class Fusing(Legacy):
    """Keeps rows and heads in one dimension."""

    def _convert_to_bloom_cache(self) -> None: ...


def test_a_fused_cache_is_as_bloom_had_it_and_is_read_back() -> None:
    filled = [layer(0), layer(1)]
    made = caches.filled_cache(Fusing(), filled)
    assert made[0][0].shape == (ROWS * HEADS, SIZE, LENGTH)
    assert made[0][1].shape == (ROWS * HEADS, LENGTH, SIZE)
    for found, (keys, values) in zip(caches.read_cache(made, 2, HEADS), filled, strict=True):
        assert found.length == LENGTH
        assert found.keys is not None
        assert found.values is not None
        assert torch.equal(found.keys, keys)
        assert torch.equal(found.values, values)


@pytest.mark.parametrize("cache", [None, (), (layer(0),), [layer(0)], SimpleNamespace(key_cache=[], value_cache=[])])
def test_every_layer_is_read_even_where_the_cache_has_none_for_it(cache: Any) -> None:
    found = caches.read_cache(cache, 3, HEADS)
    assert len(found) == 3
    assert found[-1] == caches.NOTHING_HELD
    assert bool(found[0].length) == bool(cache) * isinstance(cache, (tuple, list))


def test_a_legacy_tuple_of_an_encoder_decoder_is_completed_by_its_own_forward() -> None:
    model, own = Legacy(encoder=True), (layer(0), layer(1))
    done = caches.completed(model, own, {"decoder_input_ids": 1})
    assert model.given == {"decoder_input_ids": 1, "use_cache": True, "return_dict": True}
    for index, other in ((0, 8), (1, 10)):
        assert all(
            torch.equal(found, wanted) for found, wanted in zip(done[index], (*own[index], *layer(other)), strict=True)
        )
    assert caches.completed(model, done, {}) is done


@pytest.mark.parametrize(
    ("said", "masks", "expected"), [("hybrid", False, True), ("hybrid", True, False), (None, False, False)]
)
def test_sliding_layers_want_a_cache_of_fixed_size_where_masks_are_cut_to_it(
    monkeypatch: pytest.MonkeyPatch, said: str | None, masks: bool, expected: bool
) -> None:
    monkeypatch.setattr(caches, "find_spec", lambda name: object() if masks else None)
    model = Legacy()
    model.config.cache_implementation = said
    assert caches.windows_are_of_fixed_size(model) is expected


def test_any_other_cache_is_complete() -> None:
    made = (layer(0),)
    assert caches.completed(Legacy(), made, {}) is made
    assert caches.completed(Legacy(encoder=True), None, {}) is None


class OldRotaryEmbedding(nn.Module):
    inv_freq = 1.0

    def forward(self, x: Tensor, seq_len: int) -> Tensor:
        return x


class NewRotaryEmbedding(nn.Module):
    inv_freq = 1.0

    def forward(self, x: Tensor, position_ids: Tensor, seq_len: int | None = None) -> Tensor:
        return x


def test_a_rotary_embedding_that_is_told_a_length_only_has_no_positions_beyond_it() -> None:
    assert not may_lie_beyond_text(nn.Sequential(OldRotaryEmbedding()))
    assert may_lie_beyond_text(nn.Sequential(NewRotaryEmbedding(), nn.Linear(1, 1)))


class Old:
    def forward(self, input_ids: object, past_key_values: object = None) -> None: ...


class New:
    def forward(self, input_ids: object, cache: object = None, **kwargs: object) -> None: ...


@pytest.mark.parametrize(
    ("model", "arguments", "used"),
    [
        (Old(), {"past_key_values": "prefix"}, "prefix"),
        (Old(), {}, None),
        (New(), {"cache": "own"}, "own"),
        (New(), {"past_key_values": "prefix"}, "prefix"),
        # What PEFT 0.21 gives transformers 5.24 in generate: the prefix is not what the model uses.
        (New(), {"cache": "own", "past_key_values": "prefix"}, "own"),
        (New(), {"cache": None, "past_key_values": "prefix"}, None),
    ],
)
def test_of_two_caches_the_one_that_the_model_uses_is_looked_at(
    model: object, arguments: dict[str, object], used: object
) -> None:
    assert caches.given(model, arguments) == used


def test_a_cache_is_given_and_taken_under_the_name_of_the_release() -> None:
    assert (caches.argument(Old()), caches.argument(New())) == ("past_key_values", "cache")
    assert caches.returned(SimpleNamespace(past_key_values="held")) == "held"
    assert caches.returned(SimpleNamespace(cache="held")) == "held"
    assert caches.returned(SimpleNamespace(cache=None)) is None
