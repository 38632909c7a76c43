"""The caches of all supported releases behind two functions: read one, make one filled by hand.

Legacy tuples (until 4.4x), ``DynamicCache`` with lists and with layers, ``EncoderDecoderCache``; ALiBi models' fused layout.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor


class LayerCache(NamedTuple):
    """What one layer's cache holds: ``length`` is what it reports, keys and values are ``(rows, heads, stored, head_dim)``.

    ``devices`` is where they are, kept by copies, which themselves are on the CPU.
    """

    length: int
    keys: Tensor | None
    values: Tensor | None
    devices: tuple[str, ...] = ()

    def brief(self) -> LayerCache:
        """Its length, and where it is."""
        return LayerCache(self.length, None, None, self.where())

    def copy(self) -> LayerCache:
        """A copy that later updates of the cache do not change."""
        return LayerCache(self.length, _copy(self.keys), _copy(self.values), self.where())

    def where(self) -> tuple[str, ...]:
        """Where keys and values are."""
        if self.keys is None or self.values is None:
            return ()
        return _name(self.keys.device), _name(self.values.device)


_name = cache(str)
"""The name of a device: every layer is asked for its own before every forward."""


NOTHING_HELD = LayerCache(0, None, None)
"""What a layer holds that no cache has come to yet."""
FUSED = 3
"""Dimensions of keys and values in a fused cache; 4 everywhere else."""
OWN = 2
"""Of each layer of a legacy tuple, the keys and values of self-attention; an encoder-decoder's has two more."""

OLD, NEW = "past_key_values", "cache"
"""What the argument that takes a cache is called, and the field that returns it; the latter since 5.24."""

KeysValues = Sequence[tuple[Tensor, Tensor]]
"""Per layer keys and values, each ``(rows, kv_heads, length, head_dim)``."""


def argument(model: Any) -> str:
    """What the forward of ``model`` calls the argument that takes a cache."""
    return _argument(type(model).forward)


@cache
def _argument(forward: Callable[..., Any]) -> str:
    """Looked up once: a signature of transformers takes a millisecond to read, and every forward is asked."""
    return NEW if NEW in inspect.signature(forward).parameters else OLD


def given(model: Any, arguments: Mapping[str, Any]) -> Any:
    """The cache that the forward of ``model`` uses when it is called with ``arguments``.

    A model that has the new name takes the old one, too; but not beside the new one, not even where that is ``None``.
    """
    return arguments[NEW] if argument(model) == NEW and NEW in arguments else arguments.get(OLD)


def returned(out: Any) -> Any:
    """The cache in what a forward or a call of ``generate`` returned; ``None`` if there is none."""
    return getattr(out, NEW if hasattr(out, NEW) else OLD, None)


def read_cache(cache: Any, layers: int, heads: int) -> tuple[LayerCache, ...]:
    """The self-attention part of ``cache``, layer by layer; empty layers where it has none.

    ``heads`` is how many a layer has in a cache that does not say it: the fused one of :func:`fuses_heads`.
    """
    cache = getattr(cache, "self_attention_cache", cache)
    if cache is None:
        return (NOTHING_HELD,) * layers
    if isinstance(cache, (tuple, list)):
        found = [_read_legacy(layer[0], layer[1], heads) for layer in cache]
        return (*found, *(NOTHING_HELD,) * (layers - len(found)))
    if hasattr(cache, "layers"):
        own = [LayerCache(int(layer.get_seq_length()), layer.keys, layer.values) for layer in cache.layers[:layers]]
        return (*own, *(NOTHING_HELD,) * (layers - len(own)))
    return tuple(_read_layer(cache, index) for index in range(layers))


def _read_legacy(keys: Tensor, values: Tensor, heads: int) -> LayerCache:
    if keys.dim() == FUSED:
        keys, values = keys.transpose(-1, -2).unflatten(0, (-1, heads)), values.unflatten(0, (-1, heads))
    return LayerCache(keys.shape[-2], keys, values)


def _read_layer(cache: Any, index: int) -> LayerCache:
    if index >= len(cache.key_cache):
        return NOTHING_HELD
    keys, values = cache.key_cache[index], cache.value_cache[index]
    if not isinstance(keys, Tensor) or keys.numel() == 0:
        return NOTHING_HELD
    return LayerCache(int(cache.get_seq_length(index)), keys, values)


def filled_cache(model: Any, filled: KeysValues, keep_all: bool = False, slots: int = 0) -> Any:
    """A cache for ``model`` whose self-attention layers hold ``filled``; nothing at all where ``filled`` is empty.

    Sliding layers drop what their window does not need, unless ``keep_all``. With ``slots`` it is a static one of so many,
    which drops nothing.
    """
    if takes_legacy(model):
        return tuple(_fused(*layer) for layer in filled) or None if fuses_heads(model) else tuple(filled) or None
    cache = static_cache(model, len(filled), slots) if slots else _empty(model, keep_all)
    target = getattr(cache, "self_attention_cache", cache)
    for index, (keys, values) in enumerate(filled):
        target.update(keys, values, index)
    return cache


def takes_legacy(model: Any) -> bool:
    """Whether this model class of this release knows only tuples of keys and values."""
    return getattr(type(model), "_supports_cache_class", True) is False


def _empty(model: Any, keep_all: bool) -> Any:
    from transformers import DynamicCache

    config = model.config.get_text_config(decoder=True) if hasattr(model.config, "get_text_config") else model.config
    # Since 4.56 a cache is told the config, and gives sliding layers their own kind of storage.
    known = not keep_all and "config" in inspect.signature(DynamicCache.__init__).parameters
    if not model.config.is_encoder_decoder:
        return DynamicCache(config=config) if known else DynamicCache()
    from transformers import EncoderDecoderCache

    return EncoderDecoderCache(DynamicCache(), DynamicCache())


def static_layers() -> bool:
    """Whether this release has layers of fixed size that can be filled by hand."""
    return hasattr(import_module("transformers.cache_utils"), "StaticLayer")


def static_cache(model: Any, layers: int, slots: int) -> Any:
    """An empty static cache for ``model``: so many layers of so many slots."""
    from transformers import DynamicCache, EncoderDecoderCache, StaticCache
    from transformers.cache_utils import StaticLayer

    own = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=slots)
    # Where layers slide it has others, which hold no more than their window.
    own.layers = [StaticLayer(max_cache_len=slots) for _ in range(layers)]
    return EncoderDecoderCache(own, DynamicCache()) if model.config.is_encoder_decoder else own


def fuses_heads(model: Any) -> bool:
    """Whether this model, or class, keeps rows and heads in one dimension, and its keys transposed, as BLOOM once did."""
    return hasattr(model, "_convert_to_bloom_cache")


def _fused(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return keys.transpose(-1, -2).flatten(0, 1), values.flatten(0, 1)


def windows_are_of_fixed_size(model: Any) -> bool:
    """Whether this release cuts the masks of sliding layers to a cache of fixed size, which cannot be filled by hand.

    Any other cache then does only as long as everything lies within the window.
    """
    return getattr(model.config, "cache_implementation", None) == "hybrid" and not find_spec(
        "transformers.masking_utils"
    )


def completed(model: Any, cache: Any, arguments: Mapping[str, Any]) -> Any:
    """``cache`` as a forward with these ``arguments`` takes it.

    In a legacy tuple an encoder-decoder wants the keys and values of the encoder's output too: what its own forward makes.
    """
    if not cache or not takes_legacy(model) or not model.config.is_encoder_decoder or len(cache[0]) > OWN:
        return cache
    # Not a call: nobody who counts the forwards of a model shall count this one.
    fresh = returned(model.forward(**{**arguments, "use_cache": True, "return_dict": True}))
    return tuple((*own, *other[OWN:]) for own, other in zip(cache, fresh, strict=True))


def snapshot(layers: tuple[LayerCache, ...]) -> tuple[LayerCache, ...]:
    """A copy that later updates of the cache do not change."""
    return tuple(found.copy() for found in layers)


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().to("cpu", copy=True)


def cut(layers: tuple[LayerCache, ...], start: int, stop: int) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of the positions ``start`` to ``stop`` of every layer, for layers that store all of them."""
    return [(_slice(found.keys, start, stop), _slice(found.values, start, stop)) for found in layers]


def _slice(tensor: Tensor | None, start: int, stop: int) -> Tensor:
    assert tensor is not None
    return tensor[:, :, start:stop]


def bytes_of(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor, for comparisons to the bit."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
