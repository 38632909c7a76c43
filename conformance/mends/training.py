"""Mends of what is switched on for training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pkgutil import resolve_name
from typing import Any
from unittest import mock

from torch.nn import functional

from conformance.compat.checkpointing import forgetful
from conformance.families.inputs.text import TYPES
from conformance.mends.generating import CAUSAL, ENCODER_DECODER, IN_THE_CACHE, virtual_tokens
from conformance.runs.patching import around, given_to


@contextmanager
def no_layer_forgets_the_prefix() -> Iterator[None]:
    """Where virtual tokens lie in the cache, no layer is checkpointed: it would be given none."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            if self.active_peft_config.peft_type in IN_THE_CACHE:
                for module in forgetful(self.get_base_model()):
                    stack.enter_context(mock.patch.object(module, "gradient_checkpointing", False))
            return forward(self, *args, **kwargs)

    with around(CAUSAL, "forward", mended), around(ENCODER_DECODER, "forward", mended):
        yield


@contextmanager
def smoothing_shifts_as_the_base_model() -> Iterator[None]:
    """Where a Trainer smooths labels, it shifts them as it does for the base model alone."""

    def mended(compute: Any, self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        wrapped = self.accelerator.unwrap_model(model)
        if not _smooths(self, wrapped):
            return compute(self, model, *args, **kwargs)
        named = resolve_name("transformers.models.auto.modeling_auto:MODEL_FOR_CAUSAL_LM_MAPPING_NAMES").values()
        shifts = type(wrapped.get_base_model()).__name__ in named
        with (
            mock.patch.object(self, "label_smoother", partial(_shifted, self.label_smoother, shifts)),
            mock.patch("transformers.trainer._is_peft_model", return_value=False),
        ):
            return compute(self, model, *args, **kwargs)

    with around("transformers:Trainer", "compute_loss", mended):
        yield


@contextmanager
def smoothing_leaves_out_virtual_tokens() -> Iterator[None]:
    """Where a Trainer smooths labels, logits in front of those that have labels are left out."""

    def mended(compute: Any, self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not _smooths(self, self.accelerator.unwrap_model(model)):
            return compute(self, model, *args, **kwargs)
        with mock.patch.object(self, "label_smoother", partial(_behind, self.label_smoother)):
            return compute(self, model, *args, **kwargs)

    with around("transformers:Trainer", "compute_loss", mended):
        yield


def _smooths(trainer: Any, model: Any) -> bool:
    config = getattr(model, "active_peft_config", None)
    return trainer.label_smoother is not None and config is not None and config.is_prompt_learning


def _shifted(smooth: Any, shifts: bool, outputs: Any, labels: Any, shift_labels: bool = False, **told: Any) -> Any:
    return smooth(outputs, labels, shift_labels=shifts, **told)


def _behind(smooth: Any, outputs: Any, labels: Any, **told: Any) -> Any:
    return smooth({"logits": outputs["logits"][:, -labels.shape[1] :]}, labels, **told)


@contextmanager
def types_are_passed_on() -> Iterator[None]:
    """The base model is given the types of tokens where it would be given none; embeddings in front are of the first type."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        types = kwargs.get(TYPES)
        if types is None or not self.active_peft_config.is_prompt_learning:
            return forward(self, *args, **kwargs)
        wide = functional.pad(types, (virtual_tokens(self), 0))

        def told(given: dict[str, Any]) -> dict[str, Any]:
            return {**given, TYPES: wide} if given.get(TYPES) is None else given

        with given_to(self.base_model, "forward", told):
            return forward(self, *args, **kwargs)

    with around(CAUSAL, "forward", mended):
        yield
