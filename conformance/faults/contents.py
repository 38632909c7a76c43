"""Faults in what the cache holds: the prefix itself, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.faults import weaker
from conformance.faults.registry import Planted, in_reference
from conformance.methods.prefix_tuning import OUT_BIAS

Layers = list[tuple[Tensor, Tensor]]


@in_reference(clause="injection.present")
class CacheEmptyInGenerate(Planted):
    """Generate's first forward sees an empty cache, the mask still has the virtual tokens: PEFT issue 2134."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Replace the cache."""
        if step == 0 and self.enabled:
            self.fired()
            cache = caches.make(self.base, ())
        return super().run(cache, given, step)


@in_reference(clause="injection.ignored_never", family="idefics")
class CacheEmptyBesidePixels(CacheEmptyInGenerate):
    """Generate's first forward sees an empty cache, in the model class of PEFT issue 2134."""


@in_reference(clause="injection.ignored_never")
class ContentsIgnored(Planted):
    """The cache has the right length and holds zeros."""

    def layers(self, rows: int) -> Layers:
        """Forget the values."""
        self.fired()
        return [(torch.zeros_like(keys), torch.zeros_like(values)) for keys, values in super().layers(rows)]


@in_reference(clause="injection.present")
class InjectedTwice(Planted):
    """Every virtual token is put into the cache twice."""

    def layers(self, rows: int) -> Layers:
        """Double them."""
        self.fired()
        return [(torch.cat([keys] * 2, -2), torch.cat([values] * 2, -2)) for keys, values in super().layers(rows)]


@in_reference(clause="injection.faithful", weaker=weaker.shapes)
class KeysAndValuesSwapped(Planted):
    """The last layer has its keys as values and its values as keys."""

    def layers(self, rows: int) -> Layers:
        """Swap one layer's."""
        self.fired()
        *first, (keys, values) = super().layers(rows)
        return [*first, (values, keys)]


@in_reference(clause="injection.faithful", weaker=weaker.two_layers)
class LayersExchanged(Planted):
    """The second and the third layer have each other's prefix."""

    def layers(self, rows: int) -> Layers:
        """Exchange two."""
        filled = super().layers(rows)
        if len(filled) >= 3:
            self.fired()
            filled[1], filled[2] = filled[2], filled[1]
        return filled


@in_reference(clause="injection.faithful", weaker=weaker.all_kv_heads)
class OneKeyValueHead(Planted):
    """With fewer key/value heads than query heads, the last of them has no values."""

    def layers(self, rows: int) -> Layers:
        """Clear one head."""
        filled = super().layers(rows)
        if self.shape_of.roles.kv_heads == self.shape_of.roles.heads:
            return filled
        self.fired()
        return [(keys, torch.cat([values[:, :-1], 0 * values[:, -1:]], 1)) for keys, values in filled]


@in_reference(clause="injection.faithful", family="t5")
class OnlyTheFirstDecoderLayer(Planted):
    """Only the first decoder layer's keys and values are the adapter's, the others hold zeros."""

    def layers(self, rows: int) -> Layers:
        """Clear the others."""
        first, *others = super().layers(rows)
        if others:
            self.fired()
        return [first, *((0 * keys, 0 * values) for keys, values in others)]


@in_reference(clause="injection.same_for_all_rows")
class OnlyTheFirstRow(Planted):
    """Only the first row of a batch has the adapter's values, the others hold zeros."""

    def layers(self, rows: int) -> Layers:
        """Clear the others."""
        if rows > 1:
            self.fired()
        return [(keys, torch.cat([values[:1], torch.zeros_like(values[1:])])) for keys, values in super().layers(rows)]


@in_reference(clause="injection.same_for_all_rows", weaker=weaker.two_equal_rows)
class OnlyTheThirdRow(Planted):
    """The third row of a batch has half the values."""

    def layers(self, rows: int) -> Layers:
        """Halve a row's."""
        filled = super().layers(rows)
        if rows < 3:
            return filled
        self.fired()
        factor = torch.ones(rows, 1, 1, 1, dtype=filled[0][1].dtype)
        factor[2] = 0.5
        return [(keys, values * factor) for keys, values in filled]


@in_reference(clause="injection.order_free")
class KeysTurnedByPlace(Planted):
    """The key of each virtual token is turned by its place in the prefix, once too often."""

    def layers(self, rows: int) -> Layers:
        """Roll each key's dimensions by its place."""
        self.fired()
        return [(self.turned(keys), values) for keys, values in super().layers(rows)]

    def turned(self, keys: Tensor) -> Tensor:
        """Keys ``(rows, kv_heads, n, head_dim)``, the j-th rolled by j."""
        return torch.stack([key.roll(place, -1) for place, key in enumerate(keys.unbind(-2))], -2)


@in_reference(clause="injection.every_parameter_matters")
class LayersTied(Planted):
    """The second layer takes the keys of the first."""

    def layers(self, rows: int) -> Layers:
        """Tie two."""
        filled = super().layers(rows)
        if len(filled) > 1:
            self.fired()
            filled[1] = (filled[0][0], filled[1][1])
        return filled


@in_reference(clause="injection.every_parameter_matters")
class NoGradient(Planted):
    """The whole prefix is right but gets no gradient: nothing is learnt."""

    def flat(self) -> Tensor:
        """Cut it off."""
        self.fired()
        return super().flat().detach()


@in_reference(clause="injection.every_parameter_matters", weaker=weaker.any_gradient)
class GradientCut(Planted):
    """The keys of the last layer are right but get no gradient."""

    def layers(self, rows: int) -> Layers:
        """Cut one layer's off."""
        self.fired()
        *first, (keys, values) = super().layers(rows)
        return [*first, (keys.detach(), values)]


@in_reference(clause="equivalence.step_logits", weaker=weaker.unprojected)
class OnlyWithProjection(Planted):
    """The projection forgets the bias of its last layer."""

    def flat(self) -> Tensor:
        """Take the bias off again."""
        raw = self.named_raw()
        if OUT_BIAS not in raw or self.collapsed is not None:
            return super().flat()
        self.fired()
        return super().flat() - raw[OUT_BIAS]


@in_reference(clause="equivalence.real_tokens_prefix", weaker=weaker.step_logits)
class RoundedWithoutProjection(Planted):
    """A prefix without projection is held in bfloat16, in which the drawn values are exact and real ones are not."""

    def flat(self) -> Tensor:
        """Round."""
        if self.shape_of.prefix.projection:
            return super().flat()
        self.fired()
        rows = super().flat()
        return rows.bfloat16().to(rows.dtype)


@in_reference(clause="injection.current", weaker=weaker.forward_is_current)
class StalePrompt(Planted):
    """Generate remembers the prompt of its first call."""

    remembered: Tensor | None = None

    def flat(self) -> Tensor:
        """Remember it where no graph is wanted."""
        if torch.is_grad_enabled():
            return super().flat()
        if self.remembered is not None:
            self.fired()
        self.remembered = super().flat().clone() if self.remembered is None else self.remembered
        return self.remembered
