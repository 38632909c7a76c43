"""The oracles by name. Importing this imports no torch; asking one does."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case
    from conformance.families import Family
    from conformance.methods.method import Injected


class Oracle(NamedTuple):
    """``where`` is its function: ``(base, family, case, tokens, injected) -> logits``.

    It is given an untouched base model, the Case, the ``tokens`` ``(rows, steps)`` that were seen, so that one near tie cannot
    cascade, and what the method puts in front of the text. Logits are ``(rows, steps, vocabulary)``.
    """

    where: str

    @property
    def name(self) -> str:
        """``handmade_cache``."""
        return self.where.partition(":")[2]

    def __call__(
        self, base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected, grad: bool = False
    ) -> Tensor:
        """The logits; with ``grad`` they carry a graph back to what is injected."""
        import torch

        with torch.set_grad_enabled(grad):
            logits: Tensor = resolve_name(self.where)(base, family, case, tokens, injected)
        return logits


handmade_cache = Oracle("conformance.oracles.handmade:handmade_cache")
handmade_loop = Oracle("conformance.oracles.handmade:handmade_loop")
real_tokens = Oracle("conformance.oracles.real_tokens:real_tokens")
plain_attention = Oracle("conformance.oracles.plain_attention:plain_attention")
