"""Prefix tuning: keys and values in front of every layer's cache, with or without a projection.

Source: PEFT's prefix encoder; Li and Liang 2021 for the projection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from conformance.core.case import Begins, Case
from conformance.methods.beginning import Beginning
from conformance.methods.keys_values import KeysAndValues
from conformance.methods.method import Injected, Layout, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family

EMBEDDING = "embedding.weight"
IN_WEIGHT, IN_BIAS = "transform.0.weight", "transform.0.bias"
OUT_WEIGHT, OUT_BIAS = "transform.2.weight", "transform.2.bias"
"""Names of the raw parameters, as PEFT saves and holds them."""


class PrefixTuning(KeysAndValues):
    """Learnt keys and values, or a smaller embedding and the layers that make them of it."""

    name = "PREFIX_TUNING"
    varied = frozenset({"length", "projection", "content", "order", "begins", "scale", "seed"})
    config = "PrefixTuningConfig"
    documented: ClassVar = {"init_weights": {"zero": ""}}

    def settings(self, case: Case) -> dict[str, Any]:
        """With a projection, its hidden size; and how it begins."""
        hidden, zero = case.prefix.projection, case.prefix.begins == "zero"
        projected = {"prefix_projection": True, "encoder_hidden_size": hidden} if hidden else {}
        return {**projected, **({"init_weights": "zero"} if zero else {})}

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """As zero, too."""
        return ("zero", *super().beginnings(case, family))

    def begun(self, case: Case, layout: Layout, table: Tensor) -> Beginning:
        """What makes the rows is zero: the embedding, or the last layer of a projection."""
        if case.prefix.begins != "zero":
            return Beginning()
        names = (OUT_WEIGHT, OUT_BIAS) if case.prefix.projection else (EMBEDDING,)
        return Beginning(among={name: table.new_zeros(1, 1) for name in names})

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """An embedding of flat rows; with a projection a smaller one and two linear layers."""
        size = self.head_numbers(case)
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

    def scales(self, case: Case, name: str) -> bool:
        """The last layer of the projection, or the embedding."""
        return name in (OUT_WEIGHT, OUT_BIAS) if case.prefix.projection else name == EMBEDDING

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

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """An embedding of the whole width, without a projection."""
        return {EMBEDDING: self.rows_holding(read, case, layout)}

    def gradient_by_token(self, gradients: Raw) -> Tensor:
        """The embedding's."""
        return gradients[EMBEDDING]

    def gradient_by_block(self, gradients: Raw, layout: Layout) -> Tensor:
        """That of the last layer of the projection, or the embedding's."""
        flat = gradients[OUT_WEIGHT] if OUT_WEIGHT in gradients else gradients[EMBEDDING].T
        return flat.reshape(layout.rows, -1)


PREFIX_TUNING = PrefixTuning()
