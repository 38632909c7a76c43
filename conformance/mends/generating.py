"""Mends of what generate is asked for: text without a name, a static cache or none, a decoder's own mask, a streamer, guesses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from conformance.compat import cache_kinds, caches
from conformance.runs.patching import Patched, around, taken_from

CAUSAL, ENCODER_DECODER = "peft:PeftModelForCausalLM", "peft:PeftModelForSeq2SeqLM"
PREPARE = "prepare_inputs_for_generation"
IN_THE_CACHE = ("PREFIX_TUNING", "CARTRIDGE")
PLAIN = 2
"""Dimensions of a mask that has one number for each slot."""


def virtual_tokens(model: Any) -> int:
    """How many virtual tokens a PEFT model embeds; 0 for a method that puts them into the cache, or has none."""
    config = model.active_peft_config
    embeds = config.is_prompt_learning and config.peft_type not in IN_THE_CACHE
    return config.num_virtual_tokens if embeds else 0


def inside_all_wrappers(model: Any) -> Any:
    """The model of transformers that a PEFT model is around, or the PEFT model that this one is around."""
    peft_model = resolve_name("peft:PeftModel")
    while isinstance(model, peft_model):
        model = model.get_base_model()
    return model


def text_may_have_no_name() -> Patched:
    """The generate of an encoder-decoder takes its text as the base model's does: without a name, too."""

    def mended(generate: Any, self: Any, *text: Any, **kwargs: Any) -> Any:
        return generate(self, **dict(zip(("input_ids",), text, strict=True)) if text else {}, **kwargs)

    return around(ENCODER_DECODER, "generate", mended)


@contextmanager
def static_cache_with_a_prefix() -> Iterator[None]:
    """PEFT is given an empty dynamic cache where generate has made a static one, which has no room for virtual tokens."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return _with_dynamic_cache(prepare, self, self.active_peft_config.is_prompt_learning, *args, **kwargs)

    with around(CAUSAL, PREPARE, mended):
        yield


@contextmanager
def static_masks_of_encoder_decoders() -> Iterator[None]:
    """The same for a prefix of encoder-decoders: neither cache nor masks are of the size of one without it."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        prefixed = self.active_peft_config.peft_type in IN_THE_CACHE
        return _with_dynamic_cache(prepare, self, prefixed, *args, **kwargs)

    with around(ENCODER_DECODER, PREPARE, mended):
        yield


def _with_dynamic_cache(prepare: Any, self: Any, concerned: bool, *args: Any, **kwargs: Any) -> Any:
    base = self.get_base_model()
    made = caches.given(base, kwargs)
    if not concerned or not _empty_and_static(made):
        return prepare(self, *args, **kwargs)
    kwargs |= {name: _dynamic_like(made, base) for name in (caches.OLD, caches.NEW) if kwargs.get(name) is made}
    return held_by(made, base, prepare(self, *args, **kwargs))


def held_by(made: Any, base: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What the forward of ``base`` is ``given``, where the cache ``made`` before holds what the one there does."""
    filled = caches.given(base, given)
    if filled is None or filled is made:
        return given
    cache_kinds.moved_into(made, filled)
    return given | {name: made for name in (caches.OLD, caches.NEW) if given.get(name) is filled}


def _empty_and_static(cache: Any) -> bool:
    own = getattr(cache, "self_attention_cache", cache)
    return own is not None and own.is_compileable and not own.get_seq_length()


def _dynamic_like(cache: Any, base: Any) -> Any:
    """What generate makes in place of ``cache`` where no kind is asked for."""
    from transformers import DynamicCache, EncoderDecoderCache

    config = base.config.get_text_config(decoder=True)
    if isinstance(cache, EncoderDecoderCache):
        return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
    return DynamicCache(config=config)


@contextmanager
def a_cache_that_nobody_asked_for() -> Iterator[None]:
    """With ``use_cache=False`` PEFT is given no cache, whatever the model has returned, and so puts the prefix in anew."""
    with around(CAUSAL, PREPARE, _forgetful):
        yield


@contextmanager
def prefix_in_the_first_step_only() -> Iterator[None]:
    """The same for encoder-decoders, of which every step is then the first."""
    with around(ENCODER_DECODER, PREPARE, _forgetful):
        yield


def _forgetful(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    if self.active_peft_config.peft_type in IN_THE_CACHE and kwargs.get("use_cache") is False:
        kwargs |= {name: None for name in (caches.OLD, caches.NEW) if name in kwargs}
        kwargs |= {"is_first_iteration": True} if "is_first_iteration" in kwargs else {}
    return prepare(self, *args, **kwargs)


@contextmanager
def prefix_not_in_the_decoder_mask() -> Iterator[None]:
    """In generate, as in forward, a decoder's mask has a one for each virtual token in front."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        given, config = prepare(self, *args, **kwargs), self.active_peft_config
        mask = given.get("decoder_attention_mask")
        if config.peft_type in IN_THE_CACHE and isinstance(mask, Tensor) and mask.dim() == PLAIN:
            seen = mask.new_ones(mask.shape[0], config.num_virtual_tokens)
            given["decoder_attention_mask"] = torch.cat([seen, mask], dim=1)
        return given

    with around(ENCODER_DECODER, PREPARE, mended):
        yield


@contextmanager
def generate_puts_back_what_it_replaced() -> Iterator[None]:
    """However generate ends, the base model then has its own way to prepare inputs again."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return generate(self, *args, **kwargs)
        finally:
            self.base_model.prepare_inputs_for_generation = self.base_model_prepare_inputs_for_generation

    with around(CAUSAL, "generate", mended), around(ENCODER_DECODER, "generate", mended):
        yield


@contextmanager
def own_generation_config() -> Iterator[None]:
    """While a PEFT model that was given a generation config generates, the base model has that one, and then its own again."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        base = self.get_base_model()
        if not hasattr(base, "generation_config"):
            return generate(
                self, *args, **kwargs
            )  # around another wrapper PEFT takes a part of the model for the base model
        kept = base.generation_config
        base.generation_config = vars(self).get("generation_config", kept)
        try:
            return generate(self, *args, **kwargs)
        finally:
            base.generation_config = kept

    with around(CAUSAL, "generate", mended), around(ENCODER_DECODER, "generate", mended):
        yield


@contextmanager
def all_that_is_new_is_read() -> Iterator[None]:
    """Where generate goes on from a cache, all that is not in it is read: the virtual tokens there are not of the text."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        config, left, cache = self.active_peft_config, kwargs.get("next_sequence_length"), _taken_up(kwargs)
        if not config.is_prompt_learning or left is None or cache is None:
            return prepare(self, *args, **kwargs)
        kwargs["next_sequence_length"] = left + config.num_virtual_tokens
        with _told_of_one_slot(self, cache):
            return prepare(self, *args, **kwargs)

    with around(CAUSAL, PREPARE, mended):
        yield


def _taken_up(kwargs: dict[str, Any]) -> Any:
    """The cache of an earlier call, where generate begins with one; else ``None``."""
    cache = kwargs.get(caches.OLD, kwargs.get(caches.NEW))
    return cache if kwargs.get("is_first_iteration") and cache is not None and cache.get_seq_length() else None


@contextmanager
def _told_of_one_slot(model: Any, cache: Any) -> Iterator[None]:
    """PEFT, which keeps the last token alone where ``cache`` is as long as the text, is told of one slot; transformers of all."""
    with ExitStack() as stack:

        def then_of_one(given: dict[str, Any]) -> dict[str, Any]:
            # Only now: what transformers prepares depends on how long the cache is.
            stack.enter_context(mock.patch.object(cache, "get_seq_length", return_value=1))
            return given

        with taken_from(model, "base_model_prepare_inputs_for_generation", then_of_one):
            yield


class _NotToBeCopied:
    """A copy of it is the streamer itself."""

    def __init__(self, streamer: Any) -> None:
        self.streamer = streamer

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.streamer


@contextmanager
def streamer_is_not_copied() -> Iterator[None]:
    """Where the arguments of generate are copied, the streamer among them is not."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if virtual_tokens(self) and kwargs.get("streamer") is not None:
            kwargs["streamer"] = _NotToBeCopied(kwargs["streamer"])
        return generate(self, *args, **kwargs)

    with around(ENCODER_DECODER, "generate", mended):
        yield


@contextmanager
def as_many_tokens_as_are_verified() -> Iterator[None]:
    """The base model is given the tokens that its own prepare_inputs_for_generation says, however many these are."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        said = None

        def note(arguments: dict[str, Any]) -> dict[str, Any]:
            nonlocal said
            said = arguments.get("input_ids")
            return arguments

        with taken_from(self, "base_model_prepare_inputs_for_generation", note):
            given = prepare(self, *args, **kwargs)
        return given | {"input_ids": said} if given.get("input_ids") is not None else given

    with around(CAUSAL, PREPARE, mended):
        yield


@contextmanager
def recording_goes_on() -> Iterator[None]:
    """Where the cache that generate made keeps what its windows leave, so does the one with the prefix in its place."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        given = prepare(self, *args, **kwargs)
        made, filled = (caches.given(self.get_base_model(), arguments) for arguments in (kwargs, given))
        if filled is not made and any(getattr(layer, "record_past", False) for layer in getattr(made, "layers", ())):
            filled.activate_past_recording()
        return given

    with around(CAUSAL, PREPARE, mended):
        yield
