"""The reference wrapper of methods that act on the cache: small, correct, the same for every release.

Each step a wrapper can get wrong is one method, so that a planted fault is a subclass that overrides one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.compat import cache_kinds, caches, checkpointing
from conformance.core.case import START
from conformance.devices.place_model import execution_device
from conformance.families.build import decoder_layers, parameters_of_forward
from conformance.families.inputs import inputs_of
from conformance.families.inputs.text import TYPES
from conformance.methods.reference.adapters import Adapters
from conformance.methods.reference.beams import best_answers
from conformance.methods.reference.decoding import Decoding, Forced, asked_of
from conformance.methods.reference.loop import Begun, begun, decoder_steps, text_steps

TEXT = frozenset({"input_ids", "inputs_embeds", "attention_mask", "position_ids"})
"""The arguments that say what is read, and how."""
COUNTED = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}
"""The arguments that count the text, too, and those that say the same of the answer alone."""


class Read(NamedTuple):
    """What the base model's decoder reads in its first forward.

    ``text``: its tokens or embeddings, by the argument's name. ``mask`` ``(rows, columns)`` has a column for all that is there,
    the cache included, ``positions`` ``(rows, width)`` one for all that is read. ``labels`` are as wide, if there are any.
    """

    text: dict[str, Tensor]
    mask: Tensor
    positions: Tensor
    beside: dict[str, Tensor]
    labels: Tensor | None


class ReferencePrefix(Adapters):
    """A base model with a prefix in front of its cache. Called and generated with like a model of transformers."""

    # -- the prefix ---------------------------------------------------------------------------------------------------
    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Keys and values for every layer, each ``(rows, kv_heads, n, head_dim)``."""
        filled = self.method.injected(self.flat(), self.shape_of, self.layout).cache
        return [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in filled]

    def cache(self, rows: int, slots: int = 0) -> Any:
        """A fresh cache with the prefix in it; a disabled adapter has none. With ``slots`` a static one of so many."""
        # A window counted in positions, as below, needs all of them; a cache would count pads too.
        filled = (
            [self.on_layer_device(index, *held) for index, held in enumerate(self.layers(rows))] if self.enabled else []
        )
        return caches.filled_cache(self.base, filled, keep_all=self.sliding, slots=slots)

    def on_layer_device(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, where that layer computes."""
        there = execution_device(decoder_layers(self.base, self.family)[layer])
        return keys.to(there), values.to(there)

    # -- what stands beside it ----------------------------------------------------------------------------------------
    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """1 for virtual tokens and texts, 0 for pads, shape ``(rows, n + width)``."""
        real = torch.ones(rows, width, dtype=torch.long, device=self.input_device) if given is None else given.long()
        return torch.cat([torch.ones(rows, self.length, dtype=torch.long, device=real.device), real], dim=1)

    def decoder_mask(self, given: Tensor | None) -> Tensor | None:
        """An encoder-decoder's mask of what its decoder reads, with ones in front for the virtual tokens."""
        return None if given is None else self.mask(given, *given.shape)

    @property
    def sliding(self) -> bool:
        """Whether some layer has a window and there is a prefix that pads could push out of it."""
        return self.enabled and any(self.shape_of.roles.sliding)

    def attention(self, mask: Tensor, width: int, slots: int = 0) -> Any:
        """The mask as the base model takes it: ``mask`` itself, or for windows an explicit one by distance in positions.

        It has a column for every slot of the cache, those of a static one that are still empty included.
        """
        filled = mask.shape[1]
        mask = pad(mask, (0, max(0, slots - filled)))
        if not self.sliding:
            return mask
        at, columns = mask.cumsum(-1), torch.arange(mask.shape[1], device=mask.device)
        asking = slice(filled - width, filled)
        causal = mask[:, None, :].bool() & (columns <= columns[asking, None])
        near = at[:, asking, None] - at[:, None, :] < self.shape_of.roles.window
        dtype = getattr(torch, self.shape_of.dtype)
        full, windowed = _additive(causal, dtype), _additive(causal & near, dtype)
        # A config that gives each layer a type wants a mask for each type.
        if hasattr(self.base.config, "layer_types"):
            return {"full_attention": full, "sliding_attention": windowed}
        return windowed

    def positions(self, given: Tensor | None, mask: Tensor, width: int) -> Tensor:
        """Positions of the last ``width`` columns: from n on over the text, pads skipped."""
        if given is not None:
            return given + self.length
        return (mask.cumsum(-1) - 1).clamp(min=0)[:, -width:]

    def read(self, request: Mapping[str, Any]) -> Read:
        """What the decoder reads first, the virtual tokens being in the cache."""
        text = text_of(request)
        rows, width = text[1].shape[:2]
        mask = self.mask(request.get("attention_mask"), rows, width)
        positions = self.positions(request.get("position_ids"), mask, width)
        beside = {name: value for name, value in request.items() if name in inputs_of(self.family).arguments}
        return Read(dict([text]), mask, positions, beside, request.get("labels"))

    def begun(self, first: Read, request: Mapping[str, Any], slots: int = 0) -> Begun:
        """Where generate begins."""
        return begun(self, first, request, slots)

    def encoded(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What an encoder reads, with its mask."""
        name, text = text_of(request)
        mask = request.get("attention_mask")
        if mask is None:
            mask = torch.ones(text.shape[:2], dtype=torch.long, device=self.input_device)
        return {name: text, "attention_mask": mask}

    # -- forward and generate -----------------------------------------------------------------------------------------
    def forward(self, *, return_dict: bool = True, **request: Any) -> Any:
        """The training path: one forward with the virtual tokens in it."""
        out = self.trained(request)
        return out if return_dict else out.to_tuple()

    def named(self, *text: Tensor) -> dict[str, Tensor]:
        """What is passed without a name, by its name."""
        return dict(zip(("input_ids",), text, strict=False))

    def trained(self, request: Mapping[str, Any]) -> Any:
        """What it gives, by names."""
        if not self.enabled:
            return self.base(**request)
        if self.family.encoder_decoder:
            rows = len(text_of(request)[1])
            own = {**request, "decoder_attention_mask": self.decoder_mask(request.get("decoder_attention_mask"))}
            rest = {name: value for name, value in own.items() if name not in TEXT}
            return self.run(self.cache(rows), {**rest, **self.encoded(request)})
        first = self.read(request)
        rest = {name: value for name, value in request.items() if name not in TEXT and name != "labels"}
        labelled = {} if first.labels is None else {"labels": first.labels}
        given = {**rest, **self.typed(rest), **first.text, **first.beside, **labelled, "position_ids": first.positions}
        given["attention_mask"] = self.attention(first.mask, first.positions.shape[1])
        return self.run(self.cache(len(first.mask)), self.known(given))

    def typed(self, request: Mapping[str, Any]) -> dict[str, Tensor]:
        """The types of the tokens that are read, where they are given: virtual tokens in the cache need none."""
        return {TYPES: request[TYPES]} if TYPES in request else {}

    def gradient_checkpointing_enable(self) -> None:
        """The base model's own switch."""
        checkpointing.enable(self.base)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside, no layer is checkpointed: one that is takes no cache, where the virtual tokens lie."""
        modules = checkpointing.forgetful(self.base)
        for module in modules:
            module.gradient_checkpointing = False
        try:
            yield
        finally:
            for module in modules:
                module.gradient_checkpointing = True

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """One forward of the base model over ``cache``: the training path's, or number ``step`` of a generate call."""
        cache = caches.completed(self.base, cache, given)
        with self.remembering():
            return self.base(**given, **{caches.argument(self.base): cache}, use_cache=True, return_dict=True)

    def lengthened(self, read: Mapping[str, Tensor], token: Tensor) -> dict[str, Tensor]:
        """What was ``read``, tokens or embeddings, with one ``token`` ``(rows, 1)`` more."""
        if "input_ids" in read:
            return {"input_ids": torch.cat([read["input_ids"], token], dim=1)}
        base: Any = self.base
        return {"inputs_embeds": torch.cat([read["inputs_embeds"], base.get_input_embeddings()(token)], dim=1)}

    def told(self, request: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The real tokens that the answer goes on from, and those of the text, each ``(rows, width)``; none of embeddings."""
        name, text = text_of(request)
        ids = text if name == "input_ids" else torch.zeros(len(text), 0, dtype=torch.long, device=text.device)
        return (torch.full((len(ids), 1), START, device=ids.device) if self.family.encoder_decoder else ids), ids

    def choose(self, logits: Tensor, step: int, decoding: Decoding) -> Tensor:
        """The token that each row goes on with, ``(rows, 1)``."""
        return decoding.next_token(logits)

    def known(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The part of ``request`` that this base model's forward accepts."""
        accepted = parameters_of_forward(self.base)
        return {name: value for name, value in request.items() if name in accepted or name != "position_ids"}

    @torch.no_grad()
    def generate(
        self, *, max_new_tokens: int, cache_implementation: str = "dynamic", use_cache: bool = True, **request: Any
    ) -> Any:
        """Decoding step by step; without a cache each step reads everything anew."""
        if max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` is {max_new_tokens}: there is nothing to answer")
        decoding, given = asked_of(request)
        if decoding.num_beams > 1:
            return self.searched(max_new_tokens, given, decoding)
        static = cache_kinds.is_static(cache_implementation) or cache_kinds.of_fixed_size(
            given.get(caches.argument(self.base))
        )
        return self.answered(max_new_tokens, given, decoding, static, use_cache)

    def answered(
        self, steps: int, given: dict[str, Any], decoding: Decoding, static: bool = False, remembers: bool = True
    ) -> Any:
        """One answer to each row."""
        decoding.begin(*self.told(given), steps)
        run = decoder_steps if self.family.encoder_decoder else text_steps
        return run(self, steps, static, remembers, given, decoding)

    def searched(self, steps: int, given: dict[str, Any], decoding: Decoding) -> Any:
        """Several answers to each row, by a search that reads text and answers anew for each token."""
        begun, _ = self.told(given)
        wide = {name: value.repeat_interleave(decoding.num_beams, 0) for name, value in given.items()}

        def logits_after(answers: Tensor) -> Tensor:
            out = self.answered(answers.shape[-1] + 1, wide, Forced(answers.flatten(0, 1)))
            found: Tensor = out.logits[-1].unflatten(0, answers.shape[:2])
            return found

        found = best_answers(logits_after, len(begun), steps, decoding, lambda length: self.divisor(length, decoding))
        before = begun.repeat_interleave(decoding.num_return_sequences, 0)
        return SimpleNamespace(
            sequences=torch.cat([before, found.tokens], dim=1), sequences_scores=found.scores, logits=found.logits
        )

    def divisor(self, length: int, decoding: Decoding) -> float:
        """By what the log-probability of an answer of ``length`` tokens is divided."""
        return float(length**decoding.length_penalty)

    @property
    def generation_config(self) -> Any:
        """Its own, or that of the base model."""
        return self.own_config or self.base.generation_config

    @generation_config.setter
    def generation_config(self, config: Any) -> None:
        self.own_config = config

    @generation_config.deleter
    def generation_config(self) -> None:
        self.own_config = None

    def steps_told(self, passed: Any) -> int:
        """How many tokens a call is to answer that does not say so itself: as the config ``passed`` to it says, or its own."""
        config = passed or self.generation_config
        steps: int = config.max_new_tokens
        return steps

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The ``request`` with how many tokens an answer has, in place of how many it has together with the text."""
        read = 1 if self.family.encoder_decoder else text_of(request)[1].shape[1]
        return {COUNTED.get(name, name): value - read if name in COUNTED else value for name, value in request.items()}


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores: 0 where a query may look, ``allowed`` ``(rows, queries, slots)``, else the least number."""
    nothing = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return nothing.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def text_of(request: Mapping[str, Any]) -> tuple[str, Tensor]:
    """The text's tokens, or its embeddings, with the argument's name."""
    name = "input_ids" if request.get("input_ids") is not None else "inputs_embeds"
    return name, request[name]
