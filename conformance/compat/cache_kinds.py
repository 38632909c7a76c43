"""The kinds of cache that generate can be asked for in an installed release, and a cache that is handed in."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from conformance.compat.caches import static_layers
from conformance.core.signals import NotApplicable

DEFAULT = "dynamic"
HELD = ("layers", "layer_class_to_replicate", "key_cache", "value_cache", "_seen_tokens")
"""What a cache holds, by the names of its attributes in one release or another."""


@cache
def implementations() -> tuple[str, ...]:
    """The other names than the default's that generate's ``cache_implementation`` takes, and this machine can have.

    An offloaded cache wants the streams of an accelerator, a quantized one a package of its own.
    """
    known = getattr(
        import_module("transformers.generation.configuration_utils"), "ALL_CACHE_IMPLEMENTATIONS", ("static",)
    )
    return tuple(name for name in sorted({*known, "static"} - {DEFAULT}) if _possible(name))


def _possible(name: str) -> bool:
    if "offloaded" in name:
        return torch.cuda.is_available()
    return name != "quantized" or bool(find_spec("optimum") and find_spec("optimum.quanto"))


def is_static(name: str) -> bool:
    """Whether generate makes a cache of fixed size where it is told ``name``.

    Since its sliding layers may grow, too, ``hybrid`` is what published configs say, and generate takes it as nothing said.
    """
    module = import_module("transformers.generation.configuration_utils")
    static = getattr(module, "ALL_STATIC_CACHE_IMPLEMENTATIONS", ("static",))
    grows = hasattr(import_module("transformers.cache_utils"), "DynamicSlidingWindowLayer")
    return name in static and not (name == "hybrid" and grows)


def of_fixed_size(given: Any) -> bool:
    """Whether ``given`` is a cache that never grows."""
    return given is not None and bool(getattr(own_part(given), "is_compileable", False))


def own_part(given: Any) -> Any:
    """The self-attention part of a cache."""
    return getattr(given, "self_attention_cache", given)


def empty_cache(model: Any, static: bool, slots: int, encoded: int) -> Any:
    """An empty cache as a user makes one; a static one has ``slots`` slots, and ``encoded`` for what an encoder has read."""
    from transformers import DynamicCache, EncoderDecoderCache, StaticCache

    if static and not static_layers():
        raise NotApplicable("a static cache of this release is told more than its user knows")
    config = model.config.get_text_config(decoder=True) if hasattr(model.config, "get_text_config") else model.config
    told = {"config": config} if "config" in inspect.signature(DynamicCache.__init__).parameters else {}

    def made(length: int) -> Any:
        return StaticCache(config=config, max_cache_len=length) if static else DynamicCache(**told)

    return EncoderDecoderCache(made(slots), made(encoded)) if model.config.is_encoder_decoder else made(slots)


def moved_into(given: Any, filled: Any) -> Any:
    """``given``, whose self-attention part now holds what that of ``filled`` holds."""
    for name in HELD:
        if hasattr(own_part(filled), name):
            setattr(own_part(given), name, getattr(own_part(filled), name))
    return given


def told_kind(returned: Any, given: Any = None) -> str:
    """What ``returned`` is, in words, and whether it is the cache that was ``given``."""
    own = own_part(returned)
    offloaded = ", offloaded" if getattr(own, "offloading", False) else ""
    which = (
        "" if given is None else ", which was handed in" if returned is given else ", another one than was handed in"
    )
    return f"{type(own).__name__}{offloaded}{which}"
