"""The reference wrapper of methods that act on the cache: small, correct, the same for every release.

Each step a wrapper can get wrong is one method, so that a planted fault is a subclass that overrides one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import pad

from conformance.compat import caches
from conformance.core.case import START, Case
from conformance.devices.place_model import execution_device, input_device
from conformance.families import Family
from conformance.families.build import decoder_layers, parameters_of_forward
from conformance.families.inputs import inputs_of
from conformance.methods.method import DEFAULT_ADAPTER, Method

FILE = "reference_prefix.safetensors"
TEXT = frozenset({"input_ids", "inputs_embeds", "attention_mask", "position_ids"})
"""The arguments that say what is read, and how."""


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


class ReferencePrefix(nn.Module):
    """A base model with a prefix in front of its cache. Called and generated with like a model of transformers."""

    def __init__(self, base: nn.Module, case: Case, family: Family, method: Method) -> None:
        super().__init__()
        self.base, self.family, self.shape_of, self.method = base, family, case, method
        self.layout = method.layout(case)
        self.input_device = input_device(base)
        self.shapes = method.shapes(case, self.layout)
        self.raw = nn.ParameterDict(
            {name.replace(".", "_"): self.parameter(name, shape) for name, shape in self.shapes.items()}
        )
        self.enabled = True
        # The rows of loaded adapters by name, whose projection is gone; held outside the module's state, as cached numbers are.
        self.loaded: dict[str, Tensor] = {}
        self.active = DEFAULT_ADAPTER

    # -- the prefix ---------------------------------------------------------------------------------------------------
    def parameter(self, name: str, shape: tuple[int, ...]) -> nn.Parameter:
        """A raw parameter, zero; a frozen one has no gradient."""
        return nn.Parameter(torch.zeros(shape, device=self.input_device), requires_grad=self.method.learns(name))

    def named_raw(self) -> dict[str, nn.Parameter]:
        """The raw parameters by their plain names."""
        return {name: self.raw[name.replace(".", "_")] for name in self.shapes}

    @property
    def collapsed(self) -> Tensor | None:
        """The rows of the active adapter, if it was loaded."""
        return self.loaded.get(self.active)

    def flat(self) -> Tensor:
        """The flat rows that are in force."""
        return self.loaded[self.active] if self.active in self.loaded else self.method.rows(self.named_raw())

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

    @property
    def length(self) -> int:
        """Number of virtual tokens in force."""
        return self.shape_of.prefix.length if self.enabled else 0

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

    def encoded(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What an encoder reads, with its mask."""
        name, text = text_of(request)
        mask = request.get("attention_mask")
        if mask is None:
            mask = torch.ones(text.shape[:2], dtype=torch.long, device=self.input_device)
        return {name: text, "attention_mask": mask}

    # -- forward and generate -----------------------------------------------------------------------------------------
    def forward(self, **request: Any) -> Any:
        """The training path: one forward with the virtual tokens in it."""
        if not self.enabled:
            return self.base(**request)
        if self.family.encoder_decoder:
            rows = request["decoder_input_ids"].shape[0]
            own = {**request, "decoder_attention_mask": self.decoder_mask(request.get("decoder_attention_mask"))}
            rest = {name: value for name, value in own.items() if name not in TEXT}
            return self.run(self.cache(rows), {**rest, **self.encoded(request)})
        first = self.read(request)
        rest = {name: value for name, value in request.items() if name not in TEXT and name != "labels"}
        labelled = {} if first.labels is None else {"labels": first.labels}
        given = {**rest, **first.text, **first.beside, **labelled, "position_ids": first.positions}
        given["attention_mask"] = self.attention(first.mask, first.positions.shape[1])
        return self.run(self.cache(len(first.mask)), self.known(given))

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """One forward of the base model over ``cache``: the training path's, or number ``step`` of a generate call."""
        cache = caches.completed(self.base, cache, given)
        return self.base(**given, **{caches.argument(self.base): cache}, use_cache=True, return_dict=True)

    def lengthened(self, read: Mapping[str, Tensor], token: Tensor) -> dict[str, Tensor]:
        """What was ``read``, tokens or embeddings, with one ``token`` ``(rows, 1)`` more."""
        if "input_ids" in read:
            return {"input_ids": torch.cat([read["input_ids"], token], dim=1)}
        base: Any = self.base
        return {"inputs_embeds": torch.cat([read["inputs_embeds"], base.get_input_embeddings()(token)], dim=1)}

    def choose(self, logits: Tensor, step: int) -> Tensor:
        """The token that each row goes on with, ``(rows, 1)``."""
        return logits.argmax(-1, keepdim=True)

    def known(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The part of ``request`` that this base model's forward accepts."""
        accepted = parameters_of_forward(self.base)
        return {name: value for name, value in request.items() if name in accepted or name != "position_ids"}

    @torch.no_grad()
    def generate(
        self, *, max_new_tokens: int, cache_implementation: str = "dynamic", use_cache: bool = True, **request: Any
    ) -> Any:
        """Greedy decoding, step by step; without a cache each step reads everything anew."""
        steps = _decoder_steps if self.family.encoder_decoder else _text_steps
        return steps(self, max_new_tokens, cache_implementation == "static", use_cache, request)

    # -- lifecycle ----------------------------------------------------------------------------------------------------
    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside, the base model."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the flat rows: of a projection only the result is kept."""
        save_file({"rows": self.method.rows(self.named_raw()).detach().cpu().contiguous()}, Path(folder) / FILE)

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Read what :meth:`save_pretrained` wrote as the adapter called ``name``, whose projection is then gone."""
        self.loaded[name] = load_file(Path(folder) / FILE)["rows"].to(self.input_device)


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores: 0 where a query may look, ``allowed`` ``(rows, queries, slots)``, else the least number."""
    nothing = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return nothing.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def text_of(request: Mapping[str, Any]) -> tuple[str, Tensor]:
    """The text's tokens, or its embeddings, with the argument's name."""
    name = "input_ids" if request.get("input_ids") is not None else "inputs_embeds"
    return name, request[name]


def _text_steps(wrapper: ReferencePrefix, steps: int, static: bool, remembers: bool, request: dict[str, Any]) -> Any:
    step, mask, positions, beside, _ = wrapper.read(request)
    rows, inputs = len(mask), inputs_of(wrapper.family)
    slots = mask.shape[1] + steps if static else 0
    cache, logits, tokens = wrapper.cache(rows, slots), [], []
    for number in range(steps):
        attention = wrapper.attention(mask, positions.shape[1], slots)
        given = wrapper.known({**step, **beside, "attention_mask": attention, "position_ids": positions})
        out = wrapper.run(cache, given, number)
        logits.append(out.logits[:, -1])
        tokens.append(wrapper.choose(logits[-1], number))
        mask = torch.cat([mask, torch.ones(rows, 1, dtype=mask.dtype, device=mask.device)], dim=1)
        following = positions[:, -1:] + 1
        if remembers:
            cache, step, positions = caches.returned(out), {"input_ids": tokens[-1]}, following
            beside = inputs.for_next_token(beside, out, parameters_of_forward(wrapper.base)) if beside else {}
        else:
            cache, step = wrapper.cache(rows), wrapper.lengthened(step, tokens[-1])
            positions = torch.cat([positions, following], dim=1)
            beside = inputs.for_longer_text(beside, positions.shape[1]) if beside else {}
    held = cache if remembers else None
    return SimpleNamespace(sequences=torch.cat(tokens, 1), logits=tuple(logits), past_key_values=held)


def _decoder_steps(wrapper: ReferencePrefix, steps: int, static: bool, remembers: bool, request: dict[str, Any]) -> Any:
    base: Any = wrapper.base
    own, text = wrapper.decoder_mask(request.get("decoder_attention_mask")), wrapper.encoded(request)
    mask, rows = text["attention_mask"], len(text["attention_mask"])
    encoded = base.get_encoder()(**text, return_dict=True)
    cache, logits = wrapper.cache(rows, wrapper.length + steps + 1 if static else 0), []
    tokens = [torch.full((rows, 1), START, device=wrapper.input_device)]
    for number in range(steps):
        read = tokens[-1] if remembers else torch.cat(tokens, 1)
        given = {"encoder_outputs": encoded, "attention_mask": mask, "decoder_input_ids": read}
        if own is not None:
            given["decoder_attention_mask"] = own
            own = pad(own, (0, 1), value=1)
        out = wrapper.run(cache, given, number)
        cache = caches.returned(out) if remembers else wrapper.cache(rows)
        logits.append(out.logits[:, -1])
        tokens.append(wrapper.choose(logits[-1], number))
    held = cache if remembers else None
    return SimpleNamespace(sequences=torch.cat(tokens[1:], 1), logits=tuple(logits), past_key_values=held)
