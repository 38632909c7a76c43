"""The reference wrapper of methods that put embeddings in front of the text's: small, correct, the same for every release.

As with a prefix, pads on the left lie between the virtual tokens and the text, which begins at position n all the same. An
encoder that knows distances only reads such pads first, so that nothing lies between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.core.case import IGNORED
from conformance.families.inputs import inputs_of
from conformance.methods.reference.cache import Read, ReferencePrefix, text_of


class ReferencePrompt(ReferencePrefix):
    """A base model that reads embeddings of virtual tokens in front of those of the text."""

    # -- the virtual tokens -------------------------------------------------------------------------------------------
    def front(self, rows: int) -> Tensor:
        """The embeddings of the virtual tokens, ``(rows, n, hidden)``."""
        found = self.method.injected(self.flat(), self.shape_of, self.layout).embeddings
        assert found is not None, "the method acts on embeddings"
        return found.to(self.input_device).expand(rows, -1, -1)

    def cache(self, rows: int, slots: int = 0) -> Any:
        """A fresh cache with nothing in it."""
        if slots:
            return caches.static_cache(self.base, self.shape_of.roles.layers, slots)
        return caches.filled_cache(self.base, [], keep_all=self.sliding)

    # -- what is read -------------------------------------------------------------------------------------------------
    def embedded(self, text: Tensor) -> Tensor:
        """The virtual tokens in front of ``text``, tokens or embeddings: ``(rows, n + width, hidden)``."""
        base: Any = self.base
        embeds = text if text.is_floating_point() else base.get_input_embeddings()(text)
        return torch.cat([self.front(len(text)).to(embeds.dtype), embeds.to(self.input_device)], dim=1)

    def read(self, request: Mapping[str, Any]) -> Read:
        """The embeddings of virtual tokens and text, all of them read at once."""
        if not self.enabled:
            return super().read(request)
        _, text = text_of(request)
        mask = self.mask(request.get("attention_mask"), *text.shape[:2])
        given, labels, inputs = request.get("position_ids"), request.get("labels"), inputs_of(self.family)
        beside = {name: value for name, value in request.items() if name in inputs.arguments}
        return Read(
            {"inputs_embeds": self.embedded(text)},
            mask,
            (mask.cumsum(-1) - 1).clamp(min=0) if given is None else self.counted(given),
            inputs.with_virtual_tokens(beside, self.length) if beside else {},
            None if labels is None else self.labelled(labels),
        )

    def counted(self, given: Tensor) -> Tensor:
        """The positions of virtual tokens and text, of which those of the text were ``given``."""
        own = torch.arange(self.length, device=given.device).expand(len(given), -1)
        return torch.cat([own, given + self.length], dim=1)

    def labelled(self, labels: Tensor) -> Tensor:
        """The labels, with none for the virtual tokens."""
        return torch.nn.functional.pad(labels, (self.length, 0), value=IGNORED)

    def typed(self, request: Mapping[str, Any]) -> dict[str, Tensor]:
        """With virtual tokens of the first type in front, as PEFT has it in models that classify."""
        types = super().typed(request)
        return {name: torch.nn.functional.pad(value, (self.length, 0)) for name, value in types.items()}

    def order(self, mask: Tensor) -> Tensor:
        """The columns of ``mask`` ``(rows, n + width)`` in the order in which an encoder reads them: pads on the left first."""
        begun = mask[:, self.length :].cumsum(-1) > 0
        behind = torch.cat([torch.ones_like(mask[:, : self.length]), begun.long()], dim=1)
        return behind.argsort(dim=1, stable=True)

    def encoded(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The embeddings that an encoder reads, with their mask."""
        if not self.enabled:
            return super().encoded(request)
        _, text = text_of(request)
        mask = self.mask(request.get("attention_mask"), *text.shape[:2])
        order = self.order(mask)
        return {"inputs_embeds": _in_order(self.embedded(text), order), "attention_mask": _in_order(mask, order)}

    def decoder_mask(self, given: Tensor | None) -> Tensor | None:
        """As it was given: the decoder reads no virtual token."""
        return given


def _in_order(columns: Tensor, order: Tensor) -> Tensor:
    """What stands in the ``columns`` ``(rows, width, ...)``, in that ``order``."""
    return columns[torch.arange(len(order), device=order.device)[:, None], order]
