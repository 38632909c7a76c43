"""Mends of what becomes of a cache that generate was given, or told to make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conformance.compat import cache_kinds, caches
from conformance.mends.generating import CAUSAL, ENCODER_DECODER, IN_THE_CACHE, PREPARE, held_by, virtual_tokens
from conformance.runs.patching import around


@contextmanager
def handed_in_cache_is_filled() -> Iterator[None]:
    """An empty cache that was handed in, or that offloads, holds what PEFT would put beside it, and is used."""
    with around(CAUSAL, PREPARE, _filled):
        yield


@contextmanager
def handed_in_cache_of_an_encoder_decoder_is_filled() -> Iterator[None]:
    """The same for encoder-decoders."""
    with around(ENCODER_DECODER, PREPARE, _filled):
        yield


def _filled(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    base = self.get_base_model()
    made, given = caches.given(base, kwargs), prepare(self, *args, **kwargs)
    concerned = self.active_peft_config.peft_type in IN_THE_CACHE and made is not None and _meant(made)
    return held_by(made, base, given) if concerned else given


def _meant(made: Any) -> bool:
    """Whether somebody wants that very cache, or its kind."""
    return getattr(made, "_is_user_defined", False) or getattr(cache_kinds.own_part(made), "offloading", False)


class _NotToBeCopied:
    """A copy of it is the cache itself."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.cache


@contextmanager
def handed_in_cache_is_not_copied() -> Iterator[None]:
    """Where the arguments of generate are copied, a cache among them is not."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if virtual_tokens(self):
            kwargs |= {
                name: _NotToBeCopied(kwargs[name]) for name in (caches.OLD, caches.NEW) if kwargs.get(name) is not None
            }
        return generate(self, *args, **kwargs)

    with around(ENCODER_DECODER, "generate", mended):
        yield
