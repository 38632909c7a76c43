"""Mends of prompts that differ by task: where the tasks are, and what a decoder reads beside a prompt that is its encoder's."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from conformance.mends.generating import ENCODER_DECODER, IN_THE_CACHE, virtual_tokens
from conformance.runs.patching import Patched, around, given_to


def tasks_go_to_the_prompt() -> Patched:
    """The tasks of the rows are moved to where the prompt encoder is, as the numbers of its virtual tokens are."""

    def mended(forward: Any, self: Any, indices: Tensor, task_ids: Any) -> Any:
        return forward(self, indices, task_ids.to(indices.device) if isinstance(task_ids, Tensor) else task_ids)

    return around("peft.tuners:MultitaskPromptEmbedding", "forward", mended)


def trainer_keeps_tasks() -> Patched:
    """A Trainer passes on what PEFT's forward alone has a parameter for, too."""

    def mended(find: Any, self: Any) -> Any:
        find(self)
        if hasattr(self.model, "active_peft_config"):
            own, inner = (inspect.signature(model.forward) for model in (self.model, self.model.get_base_model()))
            self._signature_columns += [name for name in own.parameters if name not in inner.parameters]

    return around("transformers:Trainer", "_set_signature_columns_if_needed", mended)


DECODER_MASK = "decoder_attention_mask"
READ_BY_DECODER = ("decoder_input_ids", "decoder_inputs_embeds")
"""The arguments that say what a decoder reads: one of them is given."""


def _as_given(names: tuple[str, ...]) -> Patched:
    """In training the base model is given, of the arguments ``names``, those that the user gave."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        own = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        if not own or not virtual_tokens(self) or self.active_peft_config.peft_type in IN_THE_CACHE:
            return forward(self, *args, **kwargs)
        with given_to(self.base_model, "forward", lambda given: {**given, **own}):
            return forward(self, *args, **kwargs)

    return around(ENCODER_DECODER, "forward", mended)


@contextmanager
def decoder_reads_what_is_given() -> Iterator[None]:
    """A decoder that has no virtual tokens reads what the user says, not what the labels would make of it."""
    with _as_given(READ_BY_DECODER):
        yield


@contextmanager
def decoder_mask_of_its_own() -> Iterator[None]:
    """The mask of a decoder that has no virtual tokens has no columns for any."""
    with _as_given((DECODER_MASK,)):
        yield
