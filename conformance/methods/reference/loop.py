"""How a reference wrapper answers: step by step, each a forward of the base model."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.compat import cache_kinds, caches
from conformance.families.build import parameters_of_forward
from conformance.families.inputs import inputs_of

if TYPE_CHECKING:
    from conformance.methods.reference.cache import Read, ReferencePrefix
    from conformance.methods.reference.decoding import Decoding


class Begun(NamedTuple):
    """Where generate begins: the cache, and what is read first of tokens or embeddings, positions, and what stands beside."""

    cache: Any
    text: dict[str, Tensor]
    positions: Tensor
    beside: dict[str, Tensor]


def begun(wrapper: ReferencePrefix, first: Read, request: Mapping[str, Any], slots: int) -> Begun:
    """A fresh cache and all that is to be read; or the cache of an earlier call, and what is not in it yet."""
    given, roles = request.get(caches.argument(wrapper.base)), wrapper.shape_of.roles
    held = caches.read_cache(given, roles.layers, roles.kv_heads)[0].length
    if not held:
        cache = filled(wrapper, given, len(first.mask), slots)
        return Begun(cache, first.text, first.positions, first.beside)
    left = first.mask.shape[1] - held
    beside = inputs_of(wrapper.family).for_the_last(first.beside, left) if first.beside else {}
    text = {name: read[:, -left:] for name, read in first.text.items()}
    return Begun(given, text, first.positions[:, -left:], beside)


def in_pieces(wrapper: ReferencePrefix, all_of_it: Begun, mask: Tensor, slots: int, size: int) -> Begun:
    """Read all but the last piece of ``size`` columns into the cache; what is left then. ``mask`` has a column for all."""
    cache, text, positions, beside = all_of_it
    width = positions.shape[1]
    held, last = mask.shape[1] - width, (width - 1) // size * size
    for begin in range(0, last, size):
        piece, seen = slice(begin, begin + size), mask[:, : held + begin + size]
        attention = {"attention_mask": wrapper.attention(seen, size, slots), "position_ids": positions[:, piece]}
        read = {name: columns[:, piece] for name, columns in text.items()}
        cache = caches.returned(wrapper.run(cache, wrapper.known({**read, **attention})))
    left = {name: columns[:, last:] for name, columns in text.items()}
    return Begun(cache, left, positions[:, last:], beside)


def filled(wrapper: ReferencePrefix, given: Any, rows: int, slots: int) -> Any:
    """A fresh cache with the virtual tokens in it, if there are to be any; or an empty one, ``given``, with the same in it."""
    cache = wrapper.cache(rows, slots)
    return cache if given is None else cache_kinds.moved_into(given, cache)


def text_steps(
    wrapper: ReferencePrefix, steps: int, static: bool, remembers: bool, request: dict[str, Any], decoding: Decoding
) -> Any:
    """What a decoder answers behind the text; without ``remembers`` each step reads everything anew."""
    first, inputs = wrapper.read(request), inputs_of(wrapper.family)
    mask, rows = first.mask, len(first.mask)
    slots = mask.shape[1] + steps if static else 0
    start, size = wrapper.begun(first, request, slots), decoding.prefill_chunk_size
    if size and remembers and not start.beside:
        start = in_pieces(wrapper, start, mask, slots, size)
    cache, step, positions, beside = start
    logits = []
    for number in range(steps):
        attention = wrapper.attention(mask, positions.shape[1], slots)
        given = wrapper.known({**step, **beside, "attention_mask": attention, "position_ids": positions})
        out = wrapper.run(cache, {**given, **decoding.returned.asked}, number)
        decoding.returned.keep(out)
        logits.append(out.logits[:, -1])
        token = decoding.accepted(wrapper.choose(logits[-1], number, decoding))
        if decoding.over:
            break
        mask = torch.cat([mask, torch.ones(rows, 1, dtype=mask.dtype, device=mask.device)], dim=1)
        following = positions[:, -1:] + 1
        if remembers:
            cache, step, positions = caches.returned(out), {"input_ids": token}, following
            beside = inputs.for_next_token(beside, out, parameters_of_forward(wrapper.base)) if beside else {}
        else:
            cache, step = wrapper.cache(rows), wrapper.lengthened(step, token)
            positions = torch.cat([positions, following], dim=1)
            beside = inputs.for_longer_text(beside, positions.shape[1]) if beside else {}
    held = caches.returned(out) if remembers else None
    return as_generate_returns(decoding, logits, held)


def as_generate_returns(decoding: Decoding, logits: list[Tensor], held: Any) -> Any:
    """What generate returns: text and answer, the logits of each step, the cache, and what else was asked for."""
    returned = decoding.returned.fields()
    return SimpleNamespace(sequences=decoding.finished(), logits=tuple(logits), past_key_values=held, **returned)


def decoder_steps(
    wrapper: ReferencePrefix, steps: int, static: bool, remembers: bool, request: dict[str, Any], decoding: Decoding
) -> Any:
    """What an encoder-decoder answers: its encoder reads the text once."""
    base: Any = wrapper.base
    own, text = wrapper.decoder_mask(request.get("decoder_attention_mask")), wrapper.encoded(request)
    mask, rows = text["attention_mask"], len(text["attention_mask"])
    encoded = base.get_encoder()(**text, return_dict=True, **decoding.returned.asked)
    given = request.get(caches.argument(base))
    cache, logits = filled(wrapper, given, rows, wrapper.length + steps + 1 if static else 0), []
    for number in range(steps):
        read = decoding.ids[:, -1:] if remembers else decoding.ids
        step = {
            "encoder_outputs": encoded,
            "attention_mask": mask,
            "decoder_input_ids": read,
            **decoding.returned.asked,
        }
        if own is not None:
            step["decoder_attention_mask"] = own
            own = pad(own, (0, 1), value=1)
        out = wrapper.run(cache, step, number)
        decoding.returned.keep(out)
        cache = caches.returned(out) if remembers else wrapper.cache(rows)
        logits.append(out.logits[:, -1])
        decoding.accepted(wrapper.choose(logits[-1], number, decoding))
        if decoding.over:
            break
    held = cache if remembers else None
    return as_generate_returns(decoding, logits, held)
