"""Faults in the virtual tokens themselves, on the reference wrapper: in the cache, in their gradients, after a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.faults.common import Layers, third_row_halved, turned
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, injection
from conformance.faults.wrappers import ChangesAfterGenerate, HidesVirtualToken


@in_reference(clause="injection.present")
class CacheEmptyInGenerate(Planted):
    """Generate's first forward sees an empty cache, the mask still has the virtual tokens: PEFT issue 2134."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Replace the cache."""
        if self.fired(step == 0 and self.enabled):
            cache = caches.filled_cache(self.base, ())
        return super().run(cache, given, step)


@in_reference(clause="injection.present")
class InjectedTwice(Planted):
    """Every virtual token is put into the cache twice."""

    def layers(self, rows: int) -> Layers:
        """Double them."""
        self.fired()
        return [(torch.cat([keys] * 2, -2), torch.cat([values] * 2, -2)) for keys, values in super().layers(rows)]


@in_reference(clause="injection.faithful", weaker=injection.shapes)
class KeysAndValuesSwapped(Planted):
    """The last layer has its keys as values and its values as keys."""

    def layers(self, rows: int) -> Layers:
        """Swap one layer's."""
        self.fired()
        *first, (keys, values) = super().layers(rows)
        return [*first, (values, keys)]


@in_reference(clause="injection.faithful", weaker=answers.two_layers)
class LayersExchanged(Planted):
    """The second and the third layer have each other's prefix."""

    def layers(self, rows: int) -> Layers:
        """Exchange two."""
        filled = super().layers(rows)
        if self.fired(len(filled) >= 3):
            filled[1], filled[2] = filled[2], filled[1]
        return filled


@in_reference(clause="injection.faithful", weaker=answers.all_kv_heads)
class OneKeyValueHead(Planted):
    """With fewer key/value heads than query heads, the last of them has no values."""

    def layers(self, rows: int) -> Layers:
        """Clear one head."""
        filled = super().layers(rows)
        if self.fired(self.shape_of.roles.kv_heads < self.shape_of.roles.heads):
            filled = [(keys, torch.cat([values[:, :-1], 0 * values[:, -1:]], 1)) for keys, values in filled]
        return filled


@in_reference(clause="injection.faithful", family="t5")
class OnlyTheFirstDecoderLayer(Planted):
    """Only the first decoder layer's keys and values are the adapter's, the others hold zeros."""

    def layers(self, rows: int) -> Layers:
        """Clear the others."""
        first, *others = super().layers(rows)
        self.fired(others)
        return [first, *((0 * keys, 0 * values) for keys, values in others)]


@in_reference(clause="injection.once", weaker=injection.first_call_grows)
class CacheReused(Planted):
    """A second generate call on as many rows is given the first one's cache object."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.caches: dict[int, Any] = {}

    def cache(self, rows: int, slots: int = 0) -> Any:
        """Give the first one again; training makes a fresh one."""
        if not self.enabled or torch.is_grad_enabled():
            return super().cache(rows, slots)
        self.fired(rows in self.caches)
        return self.caches.setdefault(rows, super().cache(rows, slots))


@in_reference(clause="injection.every_parameter_matters")
class LastVirtualTokenMasked(HidesVirtualToken):
    """The last of several virtual tokens is masked out: it is trained for nothing."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The last of several."""
        return self.length - 1 if self.length > 1 else None


@in_reference(clause="injection.every_parameter_matters")
class LayersTied(Planted):
    """The second layer takes the keys of the first."""

    def layers(self, rows: int) -> Layers:
        """Tie two."""
        filled = super().layers(rows)
        if self.fired(len(filled) > 1):
            filled[1] = (filled[0][0], filled[1][1])
        return filled


@in_reference(clause="injection.every_parameter_matters")
class NoGradient(Planted):
    """The whole prefix is right but gets no gradient: nothing is learnt."""

    def flat(self) -> Tensor:
        """Cut it off."""
        self.fired()
        return super().flat().detach()


@in_reference(clause="injection.every_parameter_matters", weaker=injection.any_gradient)
class GradientCut(Planted):
    """The keys of the last layer are right but get no gradient."""

    def layers(self, rows: int) -> Layers:
        """Cut one layer's off."""
        self.fired()
        *first, (keys, values) = super().layers(rows)
        return [*first, (keys.detach(), values)]


@in_reference(clause="injection.order_free")
class KeysTurnedByPlace(Planted):
    """The key of each virtual token is turned by its place in the prefix, once too often."""

    def layers(self, rows: int) -> Layers:
        """Roll each key's dimensions by its place."""
        self.fired()
        return [(turned(keys), values) for keys, values in super().layers(rows)]


@in_reference(clause="injection.parameters_untouched")
class ParametersHalved(ChangesAfterGenerate):
    """Each generate call halves the adapter's parameters."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Halve them."""
        self.fired()
        for parameter in self.named_raw().values():
            parameter.mul_(0.5)


@in_reference(clause="injection.parameters_untouched", weaker=injection.parameters_close)
class OneBitTouched(ChangesAfterGenerate):
    """Each generate call changes the last bit of one parameter."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Take the next number."""
        self.fired()
        row = next(iter(self.named_raw().values()))[0]
        row[0] = torch.nextafter(row[0], row[0] + 1)


@in_reference(clause="injection.parameters_untouched")
class ConfigTouched(ChangesAfterGenerate):
    """Generate leaves use_cache=False in the base model's config."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Set it."""
        self.fired()
        self.base.config.use_cache = False  # type: ignore[union-attr]


@in_reference(clause="injection.parameters_untouched", weaker=injection.parameters_close)
class UsersMaskTouched(ChangesAfterGenerate):
    """The mask that the user passed is filled with ones, in place; the wrapper works on a copy of it."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Fill it."""
        if self.fired(not request["attention_mask"].all()):
            request["attention_mask"].fill_(1)


@in_reference(clause="injection.current", weaker=injection.forward_is_current)
class StalePrompt(Planted):
    """Generate remembers the prompt of its first call."""

    remembered: Tensor | None = None

    def flat(self) -> Tensor:
        """Remember it where no graph is wanted."""
        if torch.is_grad_enabled():
            return super().flat()
        self.fired(self.remembered is not None)
        self.remembered = super().flat().clone() if self.remembered is None else self.remembered
        return self.remembered


@in_reference(clause="injection.same_for_all_rows")
class OnlyTheFirstRow(Planted):
    """Only the first row of a batch has the adapter's values, the others hold zeros."""

    def layers(self, rows: int) -> Layers:
        """Clear the others."""
        self.fired(rows > 1)
        return [(keys, torch.cat([values[:1], torch.zeros_like(values[1:])])) for keys, values in super().layers(rows)]


@in_reference(clause="injection.same_for_all_rows", weaker=answers.two_equal_rows)
class OnlyTheThirdRow(Planted):
    """The third row of a batch has half the values."""

    def layers(self, rows: int) -> Layers:
        """Halve a row's."""
        self.fired(rows > 2)
        return [(keys, third_row_halved(values)) for keys, values in super().layers(rows)]


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
