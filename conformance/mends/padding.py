"""Mends of what pads between prefix and text do to positions and windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.families.build import parameters_of_forward
from conformance.mends.generating import CAUSAL, PLAIN, held_by, virtual_tokens
from conformance.runs.patching import Patched, around, given_to

KINDS = ("sliding_attention", "full_attention")


def text_begins_at_n() -> Patched:
    """Forward gives a left-padded text the positions that generate gives it."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        base, n = self.get_base_model(), virtual_tokens(self)
        if "position_ids" not in parameters_of_forward(base):
            return forward(self, *args, **kwargs)
        if not n:  # to the positions of a text behind a prefix PEFT adds what it must
            return forward(self, *args, **_counting_the_mask(kwargs, 0))
        with given_to(base, "forward", lambda given: _counting_the_mask(given, n)):
            return forward(self, *args, **kwargs)

    return around(CAUSAL, "forward", mended)


def _counting_the_mask(given: dict[str, Any], n: int) -> dict[str, Any]:
    """The arguments ``given`` with the positions that their mask says, if it has pads behind ``n`` columns and none are told."""
    mask = given.get("attention_mask")
    told = given.get("position_ids") is not None
    if told or not isinstance(mask, Tensor) or mask.dim() != PLAIN or bool(mask[:, n].all()):
        return given
    return given | {"position_ids": (mask.long().cumsum(-1) - 1).clamp(min=0)}


def _width(given: dict[str, Any]) -> int:
    """How many positions are read."""
    text: Tensor = given["inputs_embeds"] if given.get("input_ids") is None else given["input_ids"]
    return text.shape[1]


@contextmanager
def window_skips_pads() -> Iterator[None]:
    """In generate a window is counted in positions, which skip pads, rather than in slots of the cache."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        base = self.get_base_model()
        made = caches.given(base, kwargs)
        if virtual_tokens(self) and _padded(kwargs.get("attention_mask")) and _window(base):
            kwargs |= {name: _keeping_all(kwargs[name]) for name in (caches.OLD, caches.NEW) if name in kwargs}
        replaced = caches.given(base, kwargs) is not made
        with _storing_all(kwargs.get("attention_mask")):
            arguments = prepare(self, *args, **kwargs)
        return _skipping_pads(base, held_by(made, base, arguments) if replaced else arguments)

    with around(CAUSAL, "prepare_inputs_for_generation", mended):
        yield


@contextmanager
def window_skips_pads_in_training() -> Iterator[None]:
    """In forward a window is counted in positions, which skip pads, rather than in slots of the cache."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        base = self.get_base_model()
        skipping = given_to(base, "forward", lambda given: _skipping_pads(base, given))
        with _storing_all(kwargs.get("attention_mask")), skipping:
            return forward(self, *args, **kwargs)

    with around(CAUSAL, "forward", mended):
        yield


def _storing_all(mask: Any) -> AbstractContextManager[Any]:
    """A cache made by PEFT where there are pads keeps all virtual tokens: a window in slots would drop too many."""
    from transformers import DynamicCache

    if not _padded(mask):
        return nullcontext()

    class StoringAll(DynamicCache):
        def __new__(cls, *args: Any, config: object = None, **rest: Any) -> Any:
            return DynamicCache(*args, **rest)

    # Up to 0.13 PEFT makes a tuple, which keeps all.
    return mock.patch("peft.peft_model.DynamicCache", StoringAll, create=True)


def _padded(mask: Any) -> bool:
    return mask is not None and not bool(mask.all())


def _keeping_all(cache: Any) -> Any:
    """In place of an empty dynamic cache one whose windows drop nothing; what is embedded is kept in generate's own."""
    from transformers import DynamicCache

    empty = isinstance(cache, DynamicCache) and not cache.get_seq_length()
    return DynamicCache() if empty else cache


def _window(base: Any) -> int | None:
    """The length of the sliding windows of a model, if it has any."""
    found: int | None = getattr(base.config.get_text_config(decoder=True), "sliding_window", None)
    return found


def _skipping_pads(base: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What the forward of ``base`` is given, with a mask that says where each position may look."""
    return {**given, "attention_mask": _by_positions(base, given.get("attention_mask"), _width(given))}


def _by_positions(base: Any, mask: Any, width: int) -> Any:
    """``mask``, or where there are pads and windows an explicit one for each kind of layer, for the last ``width`` columns."""
    window = _window(base)
    if not window or not isinstance(mask, Tensor) or mask.dim() != PLAIN or bool(mask.all()):
        return mask
    real = mask.bool()
    at, slots = real.cumsum(-1), torch.arange(mask.shape[1], device=mask.device)
    causal = real[:, None, :] & (slots <= slots[-width:, None])
    near = at[:, -width:, None] - at[:, None, :] < window
    windowed, full = (_additive(allowed, base.dtype) for allowed in (causal & near, causal))
    # A config that gives each layer a type wants a mask for each type.
    types = getattr(base.config.get_text_config(decoder=True), "layer_types", None)
    return windowed if types is None else dict(zip(KINDS, (windowed, full), strict=True))


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query may look, shape ``(rows, 1, queries, slots)``."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)[
        :, None
    ]
