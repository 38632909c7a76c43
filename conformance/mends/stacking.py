"""Mends of virtual tokens and another adapter on one base model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from conformance.mends.generating import ENCODER_DECODER, inside_all_wrappers
from conformance.runs.patching import Patched, around


def _asked(owner: str) -> Patched:
    """The generate of ``owner`` has the model inside all wrappers ask it, and not the next one, what each forward is given."""

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        inside = inside_all_wrappers(self)
        if self.base_model is inside or not self.active_peft_config.is_prompt_learning:
            return generate(self, *args, **kwargs)
        with mock.patch.object(inside, "prepare_inputs_for_generation", self.prepare_inputs_for_generation):
            return generate(self, *args, **kwargs)

    return around(owner, "generate", mended)


@contextmanager
def prompt_over_another_wrapper() -> Iterator[None]:
    """Virtual tokens that were wrapped around a PEFT model are in generate, too."""
    with _asked("peft:PeftModelForCausalLM"), _asked(ENCODER_DECODER):
        yield


@contextmanager
def prompt_under_another_wrapper() -> Iterator[None]:
    """A model with virtual tokens keeps its configs when a tuner is wrapped around it."""

    def mended(init: Any, self: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        if not getattr(model, "_is_prompt_learning", False):
            init(self, model, *args, **kwargs)
            return
        held, self.__dict__["peft_config"] = model._peft_config, {}
        init(self, model, *args, **kwargs)
        model._peft_config = held

    with around("peft.tuners.tuners_utils:BaseTuner", "__init__", mended):
        yield
