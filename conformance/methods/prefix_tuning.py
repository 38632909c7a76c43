"""The adapter as plain numbers: raw parameters drawn from a Case, the projection's arithmetic, and which row serves what.

Shapes: the parameters make rows of shape ``(n, 2 * L, kv_heads, head_dim)`` for ``n`` virtual tokens and ``L`` layers; each
decoder layer takes its keys from one of the ``2 * L`` rows and its values from another. Source: PEFT's prefix encoder;
Li and Liang 2021 for the projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from conformance.compat.caches import KeysValues
from conformance.core.case import Case
from conformance.families.weights import near, normal


class Layout(NamedTuple):
    """How many rows there are, and for each decoder layer the row of its keys and the row of its values.

    ``across``: a row of keys is not a token's head after the other, but the same numbers in the order of BLOOM's fused cache.
    """

    rows: int
    pairs: tuple[tuple[int, int], ...]
    across: bool = False

    @property
    def injective(self) -> bool:
        """Whether no row serves two layers."""
        used = [row for pair in self.pairs for row in pair]
        return len(used) == len(set(used))


EMBEDDING = "embedding.weight"
IN_WEIGHT, IN_BIAS = "transform.0.weight", "transform.0.bias"
OUT_WEIGHT, OUT_BIAS = "transform.2.weight", "transform.2.bias"
"""Names of the raw parameters, as PEFT saves and holds them."""


def plain_layout(case: Case) -> Layout:
    """Layer i has its keys in row 2i and its values in row 2i + 1."""
    return Layout(2 * case.roles.layers, tuple((2 * i, 2 * i + 1) for i in range(case.roles.layers)))


def doubled_layout(case: Case) -> Layout:
    """PEFT's layout for encoder-decoders: two rows for each layer of the *encoder*, standing twice, dealt out by four."""
    rows = 2 * case.roles.encoder_layers
    return Layout(rows, tuple((4 * i % rows, (4 * i + 1) % rows) for i in range(case.roles.layers)))


def halved_layout(case: Case) -> Layout:
    """PEFT's layout for BLOOM's fused cache: first the keys of all layers, then the values."""
    layers = case.roles.layers
    return Layout(2 * layers, tuple((i, layers + i) for i in range(layers)), across=True)


def shapes(case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
    """The shapes of the raw parameters that fit the model."""
    size = case.roles.kv_heads * case.roles.head_dim
    n, hidden, flat = case.prefix.length, case.prefix.projection, layout.rows * size
    if not hidden:
        return {EMBEDDING: (n, flat)}
    return {
        EMBEDDING: (n, size),
        IN_WEIGHT: (hidden, size),
        IN_BIAS: (hidden,),
        OUT_WEIGHT: (flat, hidden),
        OUT_BIAS: (flat,),
    }


def draw(case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
    """The drawn value of one raw parameter in float32; the rows that result have a standard deviation of about 1."""
    value = normal(case.prefix.seed, f"prefix/{name}", shape)
    if name == EMBEDDING and case.prefix.order == "reversed":
        return value.flip(0)
    if name in (IN_WEIGHT, OUT_WEIGHT):
        return value * near(shape[1] ** -0.5) * (2 if name == OUT_WEIGHT else 1)
    return value / 8 if name in (IN_BIAS, OUT_BIAS) else value


def project(raw: Mapping[str, Tensor]) -> Tensor:
    """Raw parameters -> flat rows ``(n, 2 * L * kv_heads * head_dim)``: embedding, linear, tanh, linear."""
    flat = raw[EMBEDDING]
    if OUT_WEIGHT in raw:
        hidden = torch.tanh(flat @ raw[IN_WEIGHT].T + raw[IN_BIAS])
        flat = hidden @ raw[OUT_WEIGHT].T + raw[OUT_BIAS]
    return flat


def keys_values(flat: Tensor, case: Case, layout: Layout) -> list[tuple[Tensor, Tensor]]:
    """Flat rows -> per layer keys and values, each ``(1, kv_heads, n, head_dim)``, in the Case's dtype."""
    roles = case.roles
    rows = flat.reshape(flat.shape[0], layout.rows, roles.kv_heads, roles.head_dim).to(getattr(torch, case.dtype))
    by_row = rows.permute(1, 2, 0, 3).unsqueeze(1)
    return [(_across(by_row[key]) if layout.across else by_row[key], by_row[value]) for key, value in layout.pairs]


def _across(keys: Tensor) -> Tensor:
    """Keys ``(1, kv_heads, n, head_dim)`` that were written token by token, read head by head and dimension by dimension."""
    rows, heads, n, size = keys.shape
    return keys.transpose(1, 2).reshape(rows, heads, size, n).transpose(-1, -2)


def _along(keys: Tensor) -> Tensor:
    """The inverse of :func:`_across`."""
    rows, heads, n, size = keys.shape
    return keys.transpose(-1, -2).reshape(rows, n, heads, size).transpose(1, 2)


def flat_rows(filled: KeysValues, case: Case, layout: Layout) -> Tensor:
    """The inverse of :func:`keys_values` for an injective layout; rows that serve no layer are zero."""
    n = case.prefix.length
    rows = torch.zeros(layout.rows, case.roles.kv_heads, n, case.roles.head_dim, dtype=filled[0][0].dtype)
    for (key, value), (keys, values) in zip(layout.pairs, filled, strict=True):
        rows[key], rows[value] = (_along(keys) if layout.across else keys)[0], values[0]
    return rows.permute(2, 0, 1, 3).reshape(n, -1)
