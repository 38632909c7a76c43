"""Faults with other kinds of cache, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers
from conformance.faults.wrappers import HidesVirtualToken
from conformance.methods.reference.cache import Read
from conformance.methods.reference.decoding import Decoding
from conformance.methods.reference.loop import Begun


class KnowsTheCache(Planted):
    """Knows whether it is generating with a static cache, or without any."""

    static = without = False

    def generate(
        self, *, max_new_tokens: int, cache_implementation: str = "dynamic", use_cache: bool = True, **request: Any
    ) -> Any:
        """Remember it for as long as the call lasts."""
        self.static, self.without = cache_implementation == "static", not use_cache
        asked: dict[str, Any] = {"cache_implementation": cache_implementation, "use_cache": use_cache}
        try:
            return super().generate(max_new_tokens=max_new_tokens, **asked, **request)
        finally:
            self.static = self.without = False


@in_reference(clause="caches.kinds_agree", weaker=answers.step_logits)
class StaticCacheHoldsZeros(KnowsTheCache):
    """A static cache has room for the virtual tokens, and nothing in it."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Clear them."""
        held = super().layers(rows)
        return [(0 * keys, 0 * values) for keys, values in held] if self.fired(self.static) else held


@in_reference(clause="caches.kinds_agree", weaker=answers.first_token_from_a_static_cache)
class StaticCacheOverwritten(KnowsTheCache):
    """With a static cache the second token goes into the slot of the last virtual token."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Overwrite it."""
        out = super().run(cache, given, step)
        if self.fired(self.static and step == 1 and self.length > 0):
            for layer in getattr(cache, "self_attention_cache", cache).layers:
                self._overwrite(layer, int(layer.get_seq_length()) - 1)
        return out

    def _overwrite(self, layer: Any, newest: int) -> None:
        with torch.no_grad():
            for held in (layer.keys, layer.values):
                held[:, :, self.length - 1] = held[:, :, newest]


@in_reference(clause="caches.without_cache", weaker=answers.step_logits)
class NoPrefixWithoutCache(KnowsTheCache):
    """Without a cache there is no prefix either."""

    def cache(self, rows: int, slots: int = 0) -> Any:
        """An empty one."""
        return (
            caches.filled_cache(self.base, [])
            if self.fired(self.without and self.enabled)
            else super().cache(rows, slots)
        )


@in_reference(clause="caches.without_cache", weaker=answers.first_token_without_cache)
class PrefixOnceWithoutCache(KnowsTheCache):
    """Without a cache the prefix is there in the first step, and in no later one."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Forget it."""
        if self.fired(self.without and self.enabled and bool(step)):
            cache = caches.filled_cache(self.base, [])
        return super().run(cache, given, step)


@in_reference(clause="caches.continued", weaker=answers.continued_by_its_own_answer)
class LastTokenOfASecondTurn(Planted):
    """Of what is not in the cache of an earlier call the last token is read, and nothing else."""

    def begun(self, first: Read, request: Mapping[str, Any], slots: int = 0) -> Begun:
        """Leave out what is before it."""
        found = super().begun(first, request, slots)
        if not self.fired(caches.argument(self.base) in request):
            return found
        text = {name: read[:, -1:] for name, read in found.text.items()}
        return found._replace(text=text, positions=found.positions[:, -1:])


@in_reference(clause="caches.continued", weaker=answers.step_logits)
class PrefixHiddenInASecondTurn(Planted):
    """Where generate goes on from a cache, the virtual tokens in it are masked out."""

    def begun(self, first: Read, request: Mapping[str, Any], slots: int = 0) -> Begun:
        """Mask them out."""
        if self.fired(caches.argument(self.base) in request):
            first.mask[:, : self.length] = 0
        return super().begun(first, request, slots)


@in_reference(clause="caches.kinds_agree", weaker=answers.a_cache_handed_in)
class HandedInCacheStaysEmpty(Planted):
    """In place of an empty cache that is handed in a new one is used."""

    def begun(self, first: Read, request: Mapping[str, Any], slots: int = 0) -> Begun:
        """Leave it alone."""
        name = caches.argument(self.base)
        given = request.get(name)
        empty = given is not None and not given.get_seq_length()
        return super().begun(first, {**request, name: None} if self.fired(empty) else request, slots)


@in_reference(clause="caches.kinds_agree", weaker=answers.step_logits)
class HandedInCacheWithoutPrefix(Planted):
    """Whoever hands in an empty cache has it used as it is, without the prefix."""

    def begun(self, first: Read, request: Mapping[str, Any], slots: int = 0) -> Begun:
        """Use it so."""
        given = request.get(caches.argument(self.base))
        empty = given is not None and not given.get_seq_length()
        found = super().begun(first, request, slots)
        if self.fired(empty and self.enabled):
            for layer in found.cache.layers:
                layer.keys, layer.values = 0 * layer.keys, 0 * layer.values
        return found


@in_reference(clause="caches.chunked_prefill", weaker=answers.last_piece_of_one)
class SecondPieceLosesItsLastToken(Planted):
    """Where a text is read in pieces, the last token of the second piece is masked out."""

    def answered(
        self, steps: int, given: dict[str, Any], decoding: Decoding, static: bool = False, remembers: bool = True
    ) -> Any:
        """Mask it out."""
        size, mask = decoding.prefill_chunk_size, given.get("attention_mask")
        if mask is not None and self.fired(0 < 2 * size <= mask.shape[1]):
            given = {**given, "attention_mask": mask.clone()}
            given["attention_mask"][:, 2 * size - 1] = 0
        return super().answered(steps, given, decoding, static, remembers)


@in_reference(clause="caches.chunked_prefill", weaker=answers.in_pieces)
class PiecesAreForgotten(Planted):
    """Where a text is to be read in pieces, it is read at once."""

    def answered(
        self, steps: int, given: dict[str, Any], decoding: Decoding, static: bool = False, remembers: bool = True
    ) -> Any:
        """Forget it."""
        at_once = replace(decoding, prefill_chunk_size=0) if self.fired(decoding.prefill_chunk_size > 0) else decoding
        return super().answered(steps, given, at_once, static, remembers)


@in_reference(clause="caches.chunked_prefill", weaker=answers.step_logits)
class PrefixHalfSeenInPieces(Planted):
    """Where a text is read in pieces, the first virtual token is not seen."""

    pieces = False

    def answered(
        self, steps: int, given: dict[str, Any], decoding: Decoding, static: bool = False, remembers: bool = True
    ) -> Any:
        """Remember it for as long as the call lasts."""
        self.pieces = decoding.prefill_chunk_size > 0
        try:
            return super().answered(steps, given, decoding, static, remembers)
        finally:
            self.pieces = False

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Mask it out."""
        mask = super().mask(given, rows, width)
        if self.fired(self.pieces and self.length > 0):
            mask[:, 0] = 0
        return mask


@in_reference(clause="caches.window_edge", family="mistral", weaker=answers.twenty_virtual_tokens)
class VirtualTokenLostWhereTheyFillTheWindow(HidesVirtualToken):
    """Where there are just as many virtual tokens as the window is long, or one less, the last is not seen."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The last."""
        beyond = self.shape_of.roles.window - self.length
        return self.length - 1 if beyond in (0, 1) and self.length > 1 else None
