"""Prefix tuning: keys and values in front of every layer's cache, with or without a projection.

Shapes: the parameters make rows of shape ``(n, 2 * L, kv_heads, head_dim)`` for ``n`` virtual tokens and ``L`` layers; each
decoder layer takes its keys from one of the ``2 * L`` rows and its values from another. Source: PEFT's prefix encoder;
Li and Liang 2021 for the projection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.core.case import Case
from conformance.methods.method import Injected, Layout, Method, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family

EMBEDDING = "embedding.weight"
IN_WEIGHT, IN_BIAS = "transform.0.weight", "transform.0.bias"
OUT_WEIGHT, OUT_BIAS = "transform.2.weight", "transform.2.bias"
"""Names of the raw parameters, as PEFT saves and holds them."""


class PrefixTuning(Method):
    """Learnt keys and values, each layer its own."""

    name = "PREFIX_TUNING"
    acts_on = "cache"
    varied = frozenset({"length", "projection", "content", "order", "seed"})
    reference = "conformance.methods.reference.cache:ReferencePrefix"

    def peft_config(self, case: Case, family: Family) -> Any:
        """``PrefixTuningConfig``."""
        from peft import PrefixTuningConfig

        hidden = case.prefix.projection
        projected: dict[str, Any] = {"prefix_projection": True, "encoder_hidden_size": hidden} if hidden else {}
        return PrefixTuningConfig(task_type=family.task, num_virtual_tokens=case.prefix.length, **projected)

    def layout(self, case: Case) -> Layout:
        """Layer i has its keys in row 2i and its values in row 2i + 1."""
        return Layout(2 * case.roles.layers, tuple((2 * i, 2 * i + 1) for i in range(case.roles.layers)))

    def peft_layout(self, case: Case, family: Family) -> Layout:
        """The same, but for encoder-decoders, and for BLOOM where its cache is fused."""
        from conformance.compat.caches import fuses_heads
        from conformance.families.presence import named

        if family.encoder_decoder:
            return encoder_decoder_layout(case)
        return keys_then_values_layout(case) if fuses_heads(named(family.model)) else self.layout(case)

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """An embedding of flat rows; with a projection a smaller one and two linear layers."""
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

    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """Scaled so that the rows that result have a standard deviation of about 1."""
        from conformance.families.weights import near, normal_numbers

        value = normal_numbers(case.prefix.seed, f"prefix/{name}", shape)
        if name == EMBEDDING and case.prefix.order == "reversed":
            return value.flip(0)
        if name in (IN_WEIGHT, OUT_WEIGHT):
            return value * near(shape[1] ** -0.5) * (2 if name == OUT_WEIGHT else 1)
        return value / 8 if name in (IN_BIAS, OUT_BIAS) else value

    def computes_rows(self, case: Case) -> bool:
        """With a projection."""
        return case.prefix.projection > 0

    def rows(self, raw: Raw) -> Tensor:
        """Embedding, linear, tanh, linear: ``(n, 2 * L * kv_heads * head_dim)``."""
        import torch

        flat = raw[EMBEDDING]
        if OUT_WEIGHT in raw:
            hidden = torch.tanh(flat @ raw[IN_WEIGHT].T + raw[IN_BIAS])
            flat = hidden @ raw[OUT_WEIGHT].T + raw[OUT_BIAS]
        return flat

    def inference_rows(self, raw: Raw) -> Tensor:
        """The embedding, which by then has the whole width."""
        return raw[EMBEDDING]

    def injected(self, rows: Tensor, case: Case, layout: Layout) -> Injected:
        """Per layer keys and values, each ``(1, kv_heads, n, head_dim)``."""
        roles = case.roles
        shaped = rows.reshape(rows.shape[0], layout.rows, roles.kv_heads, roles.head_dim).to(self.dtype(case))
        by_row = shaped.permute(1, 2, 0, 3).unsqueeze(1)
        return Injected(
            [
                (_unfused(by_row[key]) if layout.bloom_fused else by_row[key], by_row[value])
                for key, value in layout.pairs
            ]
        )

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """The inverse of :meth:`injected` for an injective layout; rows that serve no layer are zero."""
        import torch

        n = case.prefix.length
        rows = torch.zeros(layout.rows, case.roles.kv_heads, n, case.roles.head_dim, dtype=read.cache[0][0].dtype)
        for (key, value), (keys, values) in zip(layout.pairs, read.cache, strict=True):
            rows[key], rows[value] = (_fused(keys) if layout.bloom_fused else keys)[0], values[0]
        return {EMBEDDING: rows.permute(2, 0, 1, 3).reshape(n, -1)}

    def in_front(self, case: Case) -> int:
        """All virtual tokens are in the decoder's cache."""
        return case.prefix.length

    def reach(self, case: Case) -> int:
        """As far as the widest layer sees: no virtual token sees another."""
        return max(case.roles.seen_back(layer) for layer in range(case.roles.layers))

    def gradient_by_token(self, gradients: Raw) -> Tensor:
        """The embedding's."""
        return gradients[EMBEDDING]

    def gradient_by_block(self, gradients: Raw, layout: Layout) -> Tensor:
        """That of the last layer of the projection, or the embedding's."""
        flat = gradients[OUT_WEIGHT] if OUT_WEIGHT in gradients else gradients[EMBEDDING].T
        return flat.reshape(layout.rows, -1)


PREFIX_TUNING = PrefixTuning()


def encoder_decoder_layout(case: Case) -> Layout:
    """PEFT's layout for encoder-decoders.

    PEFT makes two rows for each layer of the *encoder*, repeats them once, and gives each decoder layer the next four: keys and
    values of self-attention, then of cross-attention. Only the first two are used: layer i has rows 4i and 4i + 1, modulo
    their number.
    """
    rows = 2 * case.roles.encoder_layers
    return Layout(rows, tuple((4 * i % rows, (4 * i + 1) % rows) for i in range(case.roles.layers)))


def keys_then_values_layout(case: Case) -> Layout:
    """PEFT's layout for BLOOM's fused cache: first the keys of all layers, then the values."""
    layers = case.roles.layers
    return Layout(2 * layers, tuple((i, layers + i) for i in range(layers)), bloom_fused=True)


def _unfused(keys: Tensor) -> Tensor:
    """Keys ``(1, kv_heads, n, head_dim)`` that were written token by token, read head by head and dimension by dimension."""
    rows, heads, n, size = keys.shape
    return keys.transpose(1, 2).reshape(rows, heads, size, n).transpose(-1, -2)


def _fused(keys: Tensor) -> Tensor:
    """The inverse of :func:`_unfused`."""
    rows, heads, n, size = keys.shape
    return keys.transpose(-1, -2).reshape(rows, n, heads, size).transpose(1, 2)
