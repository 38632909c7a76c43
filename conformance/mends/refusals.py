"""Mends of what cannot work and is not refused: PEFT's functions say so in words.

Each calls the function, and refuses what it did not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from conformance.mends.generating import ENCODER_DECODER
from conformance.runs.patching import Patched, around


@contextmanager
def length_is_said() -> Iterator[None]:
    """Whoever does not say how many virtual tokens there are is told to."""

    def mended(prepare: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
        config = prepare(config, *args, **kwargs)
        if config.num_virtual_tokens is None:
            raise ValueError("Please specify `num_virtual_tokens` in `peft_config`")
        return config

    with around("peft.peft_model", "_prepare_prompt_learning_config", mended):
        yield


@contextmanager
def task_is_said() -> Iterator[None]:
    """Whoever does not say the task is told to: prompt learning needs it."""

    def mended(wrap: Any, model: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return wrap(model, config, *args, **kwargs)
        except KeyError as error:
            if config.task_type is None and error.args == (None,):
                raise ValueError("Please specify `task_type` in `peft_config`") from error
            raise

    with around("peft", "get_peft_model", mended):
        yield


@contextmanager
def no_generate_without_the_prompt() -> Iterator[None]:
    """A model that is wrapped for a task without generate refuses it while an adapter is on."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("with this `task_type` generate knows no virtual tokens: wrap the model for another one")

    def mended(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._adapters_disabled or not self.active_peft_config.is_prompt_learning:
            return generate(self, *args, **kwargs)
        with mock.patch.object(self.get_base_model(), "generate", refuse):
            return generate(self, *args, **kwargs)

    with around("peft:PeftModel", "generate", mended):
        yield


def _for(owner: str, encoder_decoder: bool) -> Patched:
    """The class ``owner`` is for encoder-decoders, or for others, and refuses to wrap the rest."""

    def mended(init: Any, self: Any, model: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        init(self, model, config, *args, **kwargs)
        if config.is_prompt_learning and bool(model.config.is_encoder_decoder) is not encoder_decoder:
            raise ValueError(f"`task_type` {config.task_type} is not that of {type(model).__name__}")

    return around(owner, "__init__", mended)


@contextmanager
def task_is_the_models() -> Iterator[None]:
    """A decoder is not wrapped as an encoder-decoder, nor an encoder-decoder as a decoder."""
    with _for(ENCODER_DECODER, encoder_decoder=True), _for("peft:PeftModelForCausalLM", encoder_decoder=False):
        yield


@contextmanager
def initialisation_is_one_of_those_that_there_are() -> Iterator[None]:
    """A prompt is not initialised in a way that nobody has heard of."""

    def mended(check: Any, self: Any) -> None:
        check(self)
        ways = import_module(type(self).__module__)
        known = getattr(ways, "MultitaskPromptTuningInit", None) or ways.PromptTuningInit
        if self.prompt_tuning_init not in list(known):
            raise ValueError(f"`prompt_tuning_init` {self.prompt_tuning_init!r} is none of {', '.join(known)}")

    with around("peft:PromptTuningConfig", "__post_init__", mended):
        yield


@contextmanager
def prefix_is_initialised_at_random_or_by_zero() -> Iterator[None]:
    """A prefix is not initialised in a way that nobody has heard of."""

    def mended(check: Any, self: Any) -> None:
        check(self)
        if self.init_weights not in (None, "zero"):
            raise ValueError(f"`init_weights` {self.init_weights!r} is neither None nor 'zero'")

    with around("peft:PrefixTuningConfig", "__post_init__", mended):
        yield


@contextmanager
def loss_is_weighted_in_a_way_that_there_is() -> Iterator[None]:
    """The loss of a context is not weighted in a way that nobody has heard of."""

    def mended(check: Any, self: Any) -> None:
        check(self)
        if self.opt_weighted_loss_type not in (None, "none", "decay"):
            raise ValueError(f"`opt_weighted_loss_type` {self.opt_weighted_loss_type!r} is neither 'none' nor 'decay'")

    with around("peft:CPTConfig", "__post_init__", mended):
        yield
