"""Mends of how embeddings of virtual tokens are put in front of those of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.devices.place_model import execution_device
from conformance.families.inputs import inputs_called, kinds
from conformance.mends.generating import CAUSAL, ENCODER_DECODER, PREPARE, inside_all_wrappers, virtual_tokens
from conformance.methods import METHODS, method_named
from conformance.methods.multitask_prompt_tuning import MultitaskPromptTuning
from conformance.methods.prompt_tuning import PromptTuning
from conformance.runs.patching import Patched, around, given_to, taken_from


def _giving(owner: str, call: str, inner: str, change: Callable[[dict[str, Any], int], dict[str, Any]]) -> Patched:
    """Within the block ``owner.call`` gives the base model's ``inner`` what ``change(arguments, n)`` makes of its arguments."""

    def mended(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        with given_to(inside_all_wrappers(self), inner, lambda given: change(given, virtual_tokens(self))):
            return original(self, *args, **kwargs)

    return around(owner, call, mended)


def pads_come_first_in_the_encoder() -> Patched:
    """In generate the virtual tokens that an encoder reads stand next to the text: pads on its left come before them."""
    return _giving(ENCODER_DECODER, "generate", "generate", _pads_first)


def pads_come_first_in_the_encoder_in_training() -> Patched:
    """The same in forward."""
    return _giving(ENCODER_DECODER, "forward", "forward", _pads_first)


def _pads_first(given: dict[str, Any], n: int) -> dict[str, Any]:
    """The arguments ``given``, whose columns begin with ``n`` virtual tokens, with the pads that follow those before them."""
    mask, read = given.get("attention_mask"), given.get("inputs_embeds")
    if not n or not isinstance(mask, Tensor) or not isinstance(read, Tensor):
        return given
    begun = (mask[:, n:].cumsum(-1) > 0).long()
    order = pad(begun, (n, 0), value=1).argsort(dim=1, stable=True)
    rows = torch.arange(len(order), device=order.device)[:, None]
    return given | {"attention_mask": mask[rows, order], "inputs_embeds": read[rows, order]}


@contextmanager
def positions_are_passed_on() -> Iterator[None]:
    """Where PEFT gives no positions, the base model has those that generate, or who calls forward, says, moved by n."""

    def generating(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        n, told = virtual_tokens(self), None

        def note(arguments: dict[str, Any]) -> dict[str, Any]:
            nonlocal told
            told = arguments.get("position_ids")
            return arguments

        with taken_from(self, "base_model_prepare_inputs_for_generation", note):
            arguments = prepare(self, *args, **kwargs)
        return _told(told, n, arguments) if n else arguments

    def training(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        told, n = kwargs.get("position_ids"), virtual_tokens(self)
        if told is None or not n:
            return forward(self, *args, **kwargs)
        with given_to(self.get_base_model(), "forward", lambda given: _told(told, n, given)):
            return forward(self, *args, **kwargs)

    with around(CAUSAL, PREPARE, generating), around(CAUSAL, "forward", training):
        yield


def _told(told: Tensor | None, n: int, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``given`` with positions, if they have none: those that were ``told``, behind ``n`` that are read, too."""
    if told is None or given.get("position_ids") is not None:
        return given
    read = given.get("inputs_embeds")
    if not isinstance(read, Tensor) or read.shape[1] != n + told.shape[1]:
        return given | {"position_ids": told + n}
    own = torch.arange(n, device=told.device).expand(len(told), -1)
    return given | {"position_ids": torch.cat([own, told + n], dim=1)}


def images_are_not_for_virtual_tokens() -> Patched:
    """In generate what says which positions see an image has a column for each virtual token, too; these see none."""
    return _giving(CAUSAL, "generate", "forward", _blind)


def images_are_not_for_virtual_tokens_in_training() -> Patched:
    """The same in forward."""
    return _giving(CAUSAL, "forward", "forward", _blind)


def _blind(given: dict[str, Any], n: int) -> dict[str, Any]:
    """The arguments ``given``, with what stands beside the text made as long as what is read: ``n`` virtual tokens, and text."""
    if not isinstance(given.get("inputs_embeds"), Tensor):
        return given
    for inputs in map(inputs_called, kinds()):
        beside = {name: given[name] for name in inputs.arguments if isinstance(given.get(name), Tensor)}
        given |= inputs.with_virtual_tokens(beside, n) if beside else {}
    return given


@contextmanager
def prompt_goes_to_the_text() -> Iterator[None]:
    """The embeddings of the virtual tokens are moved to where those of the text are."""

    def mended(get_prompt: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        prompt = get_prompt(self, *args, **kwargs)
        return prompt.to(execution_device(self.word_embeddings)) if virtual_tokens(self) else prompt

    with around("peft:PeftModel", "get_prompt", mended):
        yield


FOR_THE_ENCODER = frozenset(name for name in METHODS if method_named(name).acts_on == "embeddings")
"""Methods whose embeddings an encoder reads, and nobody else."""


@contextmanager
def no_rows_for_the_decoder() -> Iterator[None]:
    """There are as many embeddings as are read: none for a decoder that has no virtual tokens."""

    def mended(setup: Any, self: Any, adapter_name: str) -> Any:
        config = self.peft_config[adapter_name]
        if config.peft_type in FOR_THE_ENCODER and config.num_transformer_submodules is None:
            config.num_transformer_submodules = 1
        return setup(self, adapter_name)

    with (
        around("peft:PeftModel", "_setup_prompt_encoder", mended),
        mock.patch.object(PromptTuning, "peft_layout", lambda method, case, family: method.layout(case)),
    ):
        yield


@contextmanager
def disabled_is_off() -> Iterator[None]:
    """A disabled adapter has no virtual tokens to put in front of what the encoder reads in generate."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if not virtual_tokens(self) or not self._adapters_disabled:
            return generate(self, *args, **kwargs)
        if self.active_peft_config.peft_type == MultitaskPromptTuning.name:
            # Of what is empty any task is as good as another, but PEFT wants to be told one.
            kwargs = {"task_ids": torch.zeros(len(kwargs["input_ids"]), dtype=torch.long), **kwargs}
        with mock.patch.object(self.active_peft_config, "num_virtual_tokens", 0):
            return generate(self, *args, **kwargs)

    with around(ENCODER_DECODER, "generate", mended):
        yield


@contextmanager
def penalties_know_the_text() -> Iterator[None]:
    """What acts on the tokens that an encoder reads is given those of the text, which PEFT embeds itself."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        text = kwargs.get("input_ids")
        if not virtual_tokens(self) or not isinstance(text, Tensor):
            return generate(self, *args, **kwargs)
        with given_to(
            self.get_base_model(), "_get_logits_processor", lambda given: given | {"encoder_input_ids": text}
        ):
            return generate(self, *args, **kwargs)

    with around(ENCODER_DECODER, "generate", mended):
        yield
