"""A cartridge: keys and values in front of every layer's cache, of which those of the first virtual tokens may be frozen.

Shapes: two raw parameters, of ``(frozen, 2 * L * kv_heads * head_dim)`` and ``(n - frozen, ...)``; joined they are the rows of a
prefix. The first is there only where something is frozen, and the second has no rows where all is. Saved is one tensor of all
``n`` rows. Source: PEFT's cartridge encoder, and Eyuboglu et al. 2025 (arXiv:2506.06266), who freeze the first token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from conformance.core.case import Case, Wrong
from conformance.methods.keys_values import KeysAndValues
from conformance.methods.method import Injected, Layout, Raw
from conformance.methods.wrong import Mistake

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family


FROZEN, TRAINABLE = "frozen_embedding", "trainable_embedding"
"""Names of the raw parameters, as PEFT holds them."""


class Cartridge(KeysAndValues):
    """Learnt keys and values behind frozen ones."""

    name = "CARTRIDGE"
    varied = frozenset({"length", "frozen", "content", "order", "begins", "scale", "seed"})
    config = "CartridgeConfig"

    def settings(self, case: Case) -> dict[str, Any]:
        """Where it is not told how many are frozen, PEFT freezes one."""
        return {"num_frozen_tokens": case.prefix.frozen}

    def wrongs(self, case: Case, family: Family) -> dict[Wrong, Mistake]:
        """More frozen virtual tokens than there are, too."""
        return {
            **super().wrongs(case, family),
            "unknown_value": Mistake({"num_frozen_tokens": case.prefix.length + 1}),
        }

    def amiss(self, told: Mapping[str, Any], family: Family) -> str:
        """More frozen virtual tokens than there are, too."""
        frozen, length = told["num_frozen_tokens"], told["num_virtual_tokens"]
        if length is not None and frozen > length:
            return f"`num_frozen_tokens` is {frozen}, of {length} virtual tokens"
        return super().amiss(told, family)

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """The flat rows of the frozen virtual tokens, if there are any, and those of the others."""
        flat, frozen = layout.rows * self.head_numbers(case), case.prefix.frozen
        return {**({FROZEN: (frozen, flat)} if frozen else {}), TRAINABLE: (case.prefix.length - frozen, flat)}

    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """Its part of rows with a standard deviation of 1, which are the same however many are frozen."""
        from conformance.families.weights import normal_numbers

        rows: Tensor = normal_numbers(case.prefix.seed, "cartridge", (case.prefix.length, *shape[1:]))
        return self._parts(rows.flip(0) if case.prefix.order == "reversed" else rows, case)[name]

    def learns(self, name: str) -> bool:
        """All but the frozen part."""
        return name != FROZEN

    def trained(self, case: Case) -> range:
        """Those behind the frozen ones."""
        return range(case.prefix.frozen, case.prefix.length)

    def rows(self, raw: Raw) -> Tensor:
        """The frozen rows, then the others: ``(n, 2 * L * kv_heads * head_dim)``."""
        import torch

        return torch.cat([raw[name] for name in (FROZEN, TRAINABLE) if name in raw])

    def inference_rows(self, raw: Raw) -> Tensor:
        """The same: a loaded adapter keeps its two parts."""
        return self.rows(raw)

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """The rows, split into frozen ones and others."""
        return self._parts(self.rows_holding(read, case, layout), case)

    def _parts(self, rows: Tensor, case: Case) -> dict[str, Tensor]:
        frozen = case.prefix.frozen
        return {**({FROZEN: rows[:frozen]} if frozen else {}), TRAINABLE: rows[frozen:]}

    def gradient_by_token(self, gradients: Raw) -> Tensor:
        """Joined as the rows are."""
        return self.rows(gradients)

    def gradient_by_block(self, gradients: Raw, layout: Layout) -> Tensor:
        """That of the virtual tokens that are trained."""
        return gradients[TRAINABLE].T.reshape(layout.rows, -1)


CARTRIDGE = Cartridge()
