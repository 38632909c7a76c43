"""What methods share that put keys and values in front of every layer's cache: which row serves which layer.

Shapes: the parameters make rows of shape ``(n, 2 * L, kv_heads, head_dim)`` for ``n`` virtual tokens and ``L`` layers; each
decoder layer takes its keys from one of the ``2 * L`` rows and its values from another. Source: PEFT's ``get_prompt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.core.case import Begins, Case
from conformance.methods.beginning import cached_length
from conformance.methods.method import Injected, Layout, Method

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family


class KeysAndValues(Method):
    """Keys and values of virtual tokens, each layer its own."""

    acts_on = "cache"
    reference = "conformance.methods.reference.cache:ReferencePrefix"

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

    def head_numbers(self, case: Case) -> int:
        """How many numbers a virtual token has in a layer's keys, and as many in its values."""
        return case.roles.kv_heads * case.roles.head_dim

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

    def rows_holding(self, read: Injected, case: Case, layout: Layout) -> Tensor:
        """The inverse of :meth:`injected` for an injective layout; rows that serve no layer are zero."""
        import torch

        n = case.prefix.length
        rows = torch.zeros(layout.rows, case.roles.kv_heads, n, case.roles.head_dim, dtype=read.cache[0][0].dtype)
        for (key, value), (keys, values) in zip(layout.pairs, read.cache, strict=True):
            rows[key], rows[value] = (_fused(keys) if layout.bloom_fused else keys)[0], values[0]
        return rows.permute(2, 0, 1, 3).reshape(n, -1)

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """As the keys and values of the first tokens of a text, where each row is of one layer and these are not dropped."""
        roles, n = case.roles, case.prefix.length
        if self.computes_rows(case) or family.encoder_decoder or family.inputs != "text":
            return ()
        if not any(roles.sliding):
            return ("cache", "cached_text")
        # A window that has dropped the first tokens of a cache leaves nothing to be taken from it.
        kept = cached_length(case) < roles.window
        return (*(("cache",) if kept else ()), *(("cached_text",) if n < roles.window else ()))

    def in_front(self, case: Case) -> int:
        """All virtual tokens are in the decoder's cache."""
        return case.prefix.length

    def reach(self, case: Case) -> int:
        """As far as the widest layer sees: no virtual token sees another."""
        return max(case.roles.seen_back(layer) for layer in range(case.roles.layers))


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
