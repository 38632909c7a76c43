"""Mends of what pads between prefix and text do to positions and windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from conformance.families.build import parameters_of_forward
from conformance.runs.patching import around

CAUSAL = "peft:PeftModelForCausalLM"
KINDS = ("sliding_attention", "full_attention")
PLAIN = 2
"""Dimensions of a mask that has one number for each slot."""


@contextmanager
def text_begins_at_n() -> Iterator[None]:
    """Forward gives a left-padded text the positions that generate gives it."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        mask: Tensor | None = kwargs.get("attention_mask")
        told = kwargs.get("position_ids") is not None or not _takes_positions(self.get_base_model())
        if mask is not None and mask.dim() == PLAIN and not told and not bool(mask[:, 0].all()):
            kwargs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
        return forward(self, *args, **kwargs)

    with around(CAUSAL, "forward", mended):
        yield


def _takes_positions(base: Any) -> bool:
    return "position_ids" in parameters_of_forward(base)


@contextmanager
def window_skips_pads() -> Iterator[None]:
    """In generate a window is counted in positions, which skip pads, rather than in slots of the cache."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        with _storing_all(kwargs.get("attention_mask")):
            arguments = prepare(self, *args, **kwargs)
        return _skipping_pads(self.get_base_model(), arguments)

    with around(CAUSAL, "prepare_inputs_for_generation", mended):
        yield


@contextmanager
def window_skips_pads_in_training() -> Iterator[None]:
    """In forward a window is counted in positions, which skip pads, rather than in slots of the cache."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        base = self.get_base_model()
        inner = base.forward

        def skipping(*args: Any, **kwargs: Any) -> Any:
            return inner(*args, **_skipping_pads(base, kwargs))

        with _storing_all(kwargs.get("attention_mask")), mock.patch.object(base, "forward", skipping):
            return forward(self, *args, **kwargs)

    with around(CAUSAL, "forward", mended):
        yield


def _storing_all(mask: Any) -> AbstractContextManager[Any]:
    """A cache made by PEFT where there are pads keeps all virtual tokens: a window in slots would drop too many."""
    from transformers import DynamicCache

    if mask is None or bool(mask.all()):
        return nullcontext()

    class StoringAll(DynamicCache):
        def __new__(cls, *args: Any, config: object = None, **rest: Any) -> Any:
            return DynamicCache(*args, **rest)

    # Up to 0.13 PEFT makes a tuple, which keeps all.
    return mock.patch("peft.peft_model.DynamicCache", StoringAll, create=True)


def _skipping_pads(base: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the forward of ``base`` is given, with a mask that says where each position may look."""
    text = arguments["inputs_embeds"] if arguments.get("input_ids") is None else arguments["input_ids"]
    return {**arguments, "attention_mask": _by_positions(base, arguments.get("attention_mask"), text.shape[1])}


def _by_positions(base: Any, mask: Any, width: int) -> Any:
    """``mask``, or where there are pads and windows an explicit one for each kind of layer, for the last ``width`` columns."""
    config = base.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None)
    if not window or not isinstance(mask, Tensor) or mask.dim() != PLAIN or bool(mask.all()):
        return mask
    real = mask.bool()
    at, slots = real.cumsum(-1), torch.arange(mask.shape[1], device=mask.device)
    causal = real[:, None, :] & (slots <= slots[-width:, None])
    near = at[:, -width:, None] - at[:, None, :] < window
    windowed, full = (_additive(allowed, base.dtype) for allowed in (causal & near, causal))
    # A config that gives each layer a type wants a mask for each type.
    types = getattr(config, "layer_types", None)
    return windowed if types is None else dict(zip(KINDS, (windowed, full), strict=True))


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query may look, shape ``(rows, 1, queries, slots)``."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)[
        :, None
    ]
