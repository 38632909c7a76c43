"""Faults in training mode, as patches of PEFT."""

from __future__ import annotations

from typing import Any

import torch

from conformance.core.case import PAD
from conformance.faults.patching import CAUSAL, MODEL, after, arguments, both, encoded, prompt, running
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, injection, training
from conformance.runs.patching import Patched, around


@in_peft(clause="training.mode_free", weaker=answers.step_logits)
def peft_prefix_zero_in_training_mode(fired: Fired) -> Patched:
    """After train() the prompt encoder gives zeros."""

    def change(encoder: Any, rows: torch.Tensor) -> torch.Tensor:
        return 0 * rows if fired(encoder.training) else rows

    return encoded(change)


@in_peft(clause="training.mode_free", weaker=training.trained_forward)
def peft_gradient_cut_in_training_mode(fired: Fired) -> Patched:
    """After train() the values of the last layer are right but get no gradient."""

    def change(self: Any, cache: Any) -> None:
        if fired(self.training):
            cache.layers[-1].values = cache.layers[-1].values.detach()

    return prompt(change)


@in_peft(clause="training.mode_free", weaker=training.trained_forward)
def peft_generates_bare_in_training_mode(fired: Fired) -> Patched:
    """After train() generate answers as the base model does; the training forward is right."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(self.training):
            return self.base_model.generate(*args, **kwargs)
        return original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="training.loss_agrees", weaker=training.every_label)
def peft_ignored_labels_count(fired: Fired) -> Patched:
    """A label of -100 is one for the pad, as if -100 had never been heard of."""

    def change(model: Any, given: dict[str, Any]) -> None:
        if fired((given["labels"][:, 1:] < PAD).any()):
            given["labels"] = given["labels"].clamp(min=PAD)

    return arguments("forward", change)


@in_peft(clause="training.as_a_trainer_calls", weaker=training.for_a_tuple)
def peft_items_are_not_counted(fired: Fired) -> Patched:
    """The base model is not told how many items there are before a step."""

    def change(model: Any, given: dict[str, Any]) -> None:
        fired(given.pop("num_items_in_batch", None))

    return arguments("forward", change)


@in_peft(clause="training.as_a_trainer_calls", weaker=training.trained_forward)
def peft_bare_by_position(fired: Fired) -> Patched:
    """Forward answers as the base model does where the text is passed without a name."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs) if fired(args) else original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)


@in_peft(clause="training.as_a_trainer_calls", weaker=training.for_a_tuple)
def peft_labels_lost_by_position(fired: Fired) -> Patched:
    """There is no loss where the text is passed without a name."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(args and kwargs.get("labels") is not None):
            kwargs["labels"] = None
        return original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)


@in_peft(clause="training.as_a_trainer_calls", weaker=training.trained_forward)
def peft_tuple_is_an_output(fired: Fired) -> Patched:
    """Forward gives an output with names whatever it is asked for."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(kwargs.get("return_dict") is False):
            kwargs["return_dict"] = True
        return original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)


@in_peft(clause="training.trainer_agrees", weaker=training.trained_once)
def peft_checkpoint_is_not_read(fired: Fired) -> Patched:
    """A Trainer that is to go on from a checkpoint begins afresh."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(kwargs.get("resume_from_checkpoint")):
            kwargs["resume_from_checkpoint"] = None
        return original(self, *args, **kwargs)

    return around("transformers:Trainer", "train", wrapper)


@in_peft(clause="training.trainer_agrees", weaker=training.trained_once)
def peft_resumes_from_the_beginning(fired: Fired) -> Patched:
    """An adapter that is loaded to be trained has the parameters of the one that was there."""

    def wrapper(original: Any, self: Any, folder: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        before = {key: value.clone() for key, value in self.prompt_encoder[name].state_dict().items()}
        result = original(self, folder, name, *args, **kwargs)
        if fired(kwargs.get("is_trainable")):
            self.prompt_encoder[name].load_state_dict(before)
        return result

    return around(MODEL, "load_adapter", wrapper)


@in_peft(clause="training.types_count", family="gpt2", weaker=training.trained_forward)
def peft_types_of_the_token_before(fired: Fired) -> Patched:
    """Each token has the type of the one before it, the first that of the last."""
    inside: list[str] = []

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if fired(inside and kwargs.get("token_type_ids") is not None):
            kwargs["token_type_ids"] = kwargs["token_type_ids"].roll(1, -1)
        return original(self, *args, **kwargs)

    return both(running("forward", inside), around("transformers:GPT2Model", "forward", wrapper))


@in_peft(clause="training.smoothing_agrees", weaker=training.trained_once)
def peft_nothing_is_smoothed(fired: Fired) -> Patched:
    """A Trainer that is to smooth labels of a PEFT model computes the loss without smoothing."""

    def change(self: Any, made: None) -> None:
        if fired(self.label_smoother is not None and hasattr(self.model, "active_peft_config")):
            self.label_smoother.epsilon = 0.0

    return after("transformers:Trainer", "__init__", change)


@in_peft(clause="training.only_the_prefix_learns", weaker=injection.any_gradient)
def peft_head_left_unfrozen(fired: Fired) -> Patched:
    """Everything of the base model is frozen but the parameter that it has last."""

    def thaw(self: Any, result: None) -> None:
        fired()
        *_, last = self.base_model.parameters()
        last.requires_grad = True

    return after(MODEL, "_setup_prompt_encoder", thaw)


@in_peft(clause="training.only_the_prefix_learns", weaker=training.frozen_after_wrapping)
def peft_thaws_in_training_mode(fired: Fired) -> Patched:
    """train() makes the base model learn, too."""

    def thaw(self: Any, result: Any) -> None:
        if fired(self.training):
            self.base_model.requires_grad_(True)

    return after(MODEL, "train", thaw)
