"""Mends of contexts of worked examples: their types, their loss, and how far training has moved them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from conformance.core.case import IGNORED
from conformance.devices.place_model import execution_device
from conformance.mends.generating import CAUSAL
from conformance.methods.cpt import AN_EXAMPLE, TYPES
from conformance.runs.patching import Patched, around

ENCODER = "peft:CPTEmbedding"
FORWARD = "_cpt_forward"
ITEMS = "num_items_in_batch"


@contextmanager
def types_are_copied() -> Iterator[None]:
    """PEFT counts on in a copy of the types that the user gives."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(kwargs.get(TYPES), Tensor):
            kwargs[TYPES] = kwargs[TYPES].clone()
        return forward(self, *args, **kwargs)

    with around(CAUSAL, FORWARD, mended):
        yield


@contextmanager
def text_begins_an_example() -> Iterator[None]:
    """The types of the text are counted behind whole examples, where the context's last one has no end."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        labels, own = kwargs.get("labels"), self.active_peft_config.cpt_tokens_type_mask
        left = -max(own) % AN_EXAMPLE
        if labels is None or not left:
            return forward(self, *args, **kwargs)
        types = kwargs.setdefault(TYPES, torch.full_like(labels, AN_EXAMPLE))
        # In place, and back: that PEFT changes them for its user is another failure.
        types[types > 0] += left
        out = forward(self, *args, **kwargs)
        types[types > 0] -= left
        return out

    with around(CAUSAL, FORWARD, mended):
        yield


@contextmanager
def loss_of_the_active_adapter() -> Iterator[None]:
    """The loss is weighted as the config of the active adapter says, whatever its name."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        with mock.patch.dict(self.peft_config, {"default": self.active_peft_config}):
            return forward(self, *args, **kwargs)

    with around(CAUSAL, FORWARD, mended):
        yield


@contextmanager
def projected_in_training_only() -> Iterator[None]:
    """Where no gradient is recorded what was projected is used, and not written into the parameters; nor where it is saved."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        weight = self.delta_embedding.weight
        before = weight.data
        out = forward(self, *args, **kwargs)
        if not torch.is_grad_enabled():
            weight.data = before
        return out

    def saving(read: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return read(self, *args, **kwargs)

    with around(ENCODER, "forward", mended), around("peft:PeftModel", "get_prompt_embedding_to_save", saving):
        yield


@contextmanager
def loss_is_put_into_a_tuple() -> Iterator[None]:
    """Who asks for a tuple is given one that is made when the loss is there."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("labels") is None or kwargs.get("return_dict") is not False:
            return forward(self, *args, **kwargs)
        return forward(self, *args, **{**kwargs, "return_dict": True}).to_tuple()

    with around(CAUSAL, FORWARD, mended):
        yield


@contextmanager
def loss_is_the_share_of_its_batch() -> Iterator[None]:
    """Where a trainer says how many labels all batches before a step have, the loss of each is weighted by its own."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        out, items, labels = forward(self, *args, **kwargs), kwargs.get(ITEMS), kwargs.get("labels")
        if items is not None and labels is not None:
            out.loss = out.loss * (labels[:, 1:] != IGNORED).sum() / items
        return out

    with around(CAUSAL, FORWARD, mended):
        yield


def trainer_keeps_types() -> Patched:
    """A Trainer passes on the types of the text."""

    def mended(find: Any, self: Any) -> Any:
        find(self)
        if hasattr(getattr(self.model, "active_peft_config", None), "cpt_tokens_type_mask"):
            self._signature_columns += [TYPES]

    return around("transformers:Trainer", "_set_signature_columns_if_needed", mended)


def loaded_over_a_delta() -> Patched:
    """What is loaded holds the deltas already: those of before are gone."""

    def mended(load: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        result = load(model, *args, **kwargs)
        for delta in _deltas(model, kwargs.get("adapter_name", "default")):
            delta.weight.data.zero_()
        return result

    return around("peft.peft_model", "set_peft_model_state_dict", mended)


def _deltas(model: Any, name: str) -> list[Any]:
    encoder = getattr(model, "prompt_encoder", {})
    return [encoder[name].delta_embedding] if name in encoder and hasattr(encoder[name], "delta_embedding") else []


APART = "context-and-deltas.pt"
"""The file in which they lie beside their sum."""


@contextmanager
def deltas_are_in_the_checkpoint() -> Iterator[None]:
    """Context and deltas are saved beside their sum; whoever loads an adapter to train it has them again, each by itself."""

    def saving(save: Any, self: Any, folder: Any, *args: Any, **kwargs: Any) -> Any:
        result = save(self, folder, *args, **kwargs)
        kept = {name: self.prompt_encoder[name].state_dict() for name in self.prompt_encoder if _deltas(self, name)}
        if kept:
            torch.save(kept, Path(folder) / APART)
        return result

    def loading(load: Any, self: Any, model_id: Any, adapter_name: str, *args: Any, **kwargs: Any) -> Any:
        result, file = load(self, model_id, adapter_name, *args, **kwargs), Path(model_id) / APART
        if kwargs.get("is_trainable") and file.is_file():
            encoder, kept = self.prompt_encoder[adapter_name], torch.load(file, weights_only=True)[adapter_name]
            # What was loaded otherwise than it was saved is another failure.
            if encoder.embedding.weight.equal(sum(kept.values())):
                encoder.load_state_dict(kept)
        return result

    with around("peft:PeftModel", "save_pretrained", saving), around("peft:PeftModel", "load_adapter", loading):
        yield


class _WhereItComputes:
    """A word embedding, whose weight says where it computes, not where it waits."""

    def __init__(self, embedding: nn.Module) -> None:
        self.embedding, self.weight = embedding, SimpleNamespace(device=execution_device(embedding))

    def __call__(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.embedding(tokens)
        return found

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.embedding.parameters()


def context_is_read_where_it_computes() -> Patched:
    """The tokens of the context go to where the word embedding computes."""

    def mended(make: Any, self: Any, config: Any, word_embeddings: nn.Module) -> None:
        make(self, config, _WhereItComputes(word_embeddings))

    return around(ENCODER, "__init__", mended)
