from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Roles
from conformance.families.weights import normal_numbers
from conformance.methods.keys_values import encoder_decoder_layout, keys_then_values_layout
from conformance.methods.method import Layout
from conformance.methods.prefix_tuning import EMBEDDING, OUT_BIAS, PREFIX_TUNING

CASE = Case(
    family="llama", roles=Roles(layers=3, heads=4, kv_heads=2, head_dim=4, width=16), prefix=Prefix(length=5, seed=3)
)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from((2, 4, 8)),
    st.integers(1, 6),
    st.sampled_from(("float32", "float64")),
)
@settings(deadline=None, derandomize=True, database=None)
def test_flat_rows_undo_keys_values(layers: int, kv_heads: int, head_dim: int, n: int, dtype: str) -> None:
    roles = Roles(layers=layers, heads=kv_heads, kv_heads=kv_heads, head_dim=head_dim)
    case = Case(family="llama", roles=roles, prefix=Prefix(length=n), dtype=dtype)  # type: ignore[arg-type]
    flat = normal_numbers(1, "flat", (n, 2 * layers * kv_heads * head_dim)).to(getattr(torch, dtype))
    injected = PREFIX_TUNING.injected(flat, case, PREFIX_TUNING.layout(case))
    assert [tuple(t.shape) for pair in injected.cache for t in pair] == [(1, kv_heads, n, head_dim)] * (2 * layers)
    assert torch.equal(PREFIX_TUNING.raw_holding(injected, case, PREFIX_TUNING.layout(case))[EMBEDDING], flat)


def test_a_number_lands_in_its_layer_head_token_and_dimension() -> None:
    flat = torch.arange(5 * 6 * 2 * 4).float().reshape(5, -1)
    filled = PREFIX_TUNING.injected(flat, CASE, PREFIX_TUNING.layout(CASE)).cache
    by_hand = flat.reshape(5, 6, 2, 4)
    for layer, (keys, values) in enumerate(filled):
        for head in range(2):
            for token in range(5):
                assert torch.equal(keys[0, head, token], by_hand[token, 2 * layer, head])
                assert torch.equal(values[0, head, token], by_hand[token, 2 * layer + 1, head])


@pytest.mark.parametrize(
    ("encoder", "decoder", "pairs"),
    [
        # Rows 4i and 4i + 1 modulo 2L, as measured: with two layers both read rows 0 and 1.
        (1, 1, ((0, 1),)),
        (2, 2, ((0, 1), (0, 1))),
        (3, 3, ((0, 1), (4, 5), (2, 3))),
        (4, 4, ((0, 1), (4, 5), (0, 1), (4, 5))),
        (3, 2, ((0, 1), (4, 5))),
    ],
)
def test_the_layout_of_encoder_decoders(encoder: int, decoder: int, pairs: tuple[tuple[int, int], ...]) -> None:
    layout = encoder_decoder_layout(Case(family="t5", roles=Roles(layers=decoder, encoder_layers=encoder)))
    assert layout == Layout(2 * encoder, pairs)
    assert layout.injective is (encoder % 2 == 1)


def test_the_layout_of_a_fused_cache() -> None:
    layout = keys_then_values_layout(CASE)
    filled = PREFIX_TUNING.injected(torch.arange(5 * 6 * 2 * 4).float().reshape(5, -1), CASE, layout).cache
    rows = torch.arange(5 * 6 * 2 * 4).float().reshape(5, 6, 2, 4)
    for layer, (keys, values) in enumerate(filled):
        written = rows[:, layer].flatten()
        for head in range(2):
            for token in range(5):
                # The cache of a head has its dimensions one after the other, each with all tokens.
                assert keys[0, head, token].tolist() == [written[(head * 4 + d) * 5 + token] for d in range(4)]
                assert torch.equal(values[0, head, token], rows[token, 3 + layer, head])


def test_a_fused_layout_is_undone_too() -> None:
    layout = keys_then_values_layout(CASE)
    flat = normal_numbers(1, "flat", (5, 48))
    assert torch.equal(
        PREFIX_TUNING.raw_holding(PREFIX_TUNING.injected(flat, CASE, layout), CASE, layout)[EMBEDDING], flat
    )
    assert layout.injective


def test_rows_that_serve_no_layer_are_zero() -> None:
    case = Case(family="t5", roles=Roles(layers=2, encoder_layers=3), prefix=Prefix(length=2))
    layout = encoder_decoder_layout(case)
    flat = normal_numbers(1, "flat", (2, 6 * 8))
    again = PREFIX_TUNING.raw_holding(PREFIX_TUNING.injected(flat, case, layout), case, layout)[EMBEDDING].reshape(
        2, 6, 8
    )
    assert torch.equal(again[:, [0, 1, 4, 5]], flat.reshape(2, 6, 8)[:, [0, 1, 4, 5]])
    assert not again[:, [2, 3]].any()


def test_the_projection_is_linear_tanh_linear() -> None:
    case = replace(CASE, prefix=Prefix(length=5, projection=6))
    shapes = PREFIX_TUNING.shapes(case, PREFIX_TUNING.layout(case))
    assert shapes == {
        "embedding.weight": (5, 8),
        "transform.0.weight": (6, 8),
        "transform.0.bias": (6,),
        "transform.2.weight": (48, 6),
        "transform.2.bias": (48,),
    }
    raw = {name: PREFIX_TUNING.draw(case, name, shape) for name, shape in shapes.items()}
    first, second = torch.nn.Linear(8, 6), torch.nn.Linear(6, 48)
    with torch.no_grad():
        for linear, at in ((first, 0), (second, 2)):
            linear.weight.copy_(raw[f"transform.{at}.weight"])
            linear.bias.copy_(raw[f"transform.{at}.bias"])
        assert torch.allclose(PREFIX_TUNING.rows(raw), second(first(raw["embedding.weight"]).tanh()), atol=1e-6)
    assert 0.5 < float(PREFIX_TUNING.rows(raw).std()) < 2


def test_a_drawn_prefix_shows_itself() -> None:
    flat = PREFIX_TUNING.draw(CASE, EMBEDDING, (5, 48))
    assert 0.9 < float(flat.std()) < 1.3
    assert len({tuple(row.tolist()) for row in flat}) == 5


def test_a_reversed_prefix_has_its_virtual_tokens_in_the_opposite_order() -> None:
    turned = replace(CASE, prefix=replace(CASE.prefix, order="reversed"))
    assert torch.equal(
        PREFIX_TUNING.draw(turned, EMBEDDING, (5, 48)), PREFIX_TUNING.draw(CASE, EMBEDDING, (5, 48)).flip(0)
    )
    assert torch.equal(PREFIX_TUNING.draw(turned, OUT_BIAS, (48,)), PREFIX_TUNING.draw(CASE, OUT_BIAS, (48,)))


def test_the_seed_of_the_model_does_not_change_the_prefix() -> None:
    other = replace(CASE, seed=9)
    assert torch.equal(PREFIX_TUNING.draw(other, EMBEDDING, (5, 48)), PREFIX_TUNING.draw(CASE, EMBEDDING, (5, 48)))
