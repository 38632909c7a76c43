"""Faults of contexts of worked examples, as patches of PEFT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from conformance.core.case import IGNORED
from conformance.faults.patching import returning, saved
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import injection, lifecycle
from conformance.methods.cpt import AN_EXAMPLE
from conformance.runs.patching import Patched, around

planted = partial(in_peft, method="CPT")
ENCODER = "peft:CPTEmbedding"


def priced(change: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]) -> Patched:
    """Within the block the loss is that of ``change(labels, types, n)``, each ``(rows, n + width)``."""

    def wrapper(original: Any, out: Any, labels: Tensor, types: Tensor, config: Any) -> Any:
        return original(out, *change(labels, types, config.num_virtual_tokens), config)

    return around(ENCODER, "calculate_loss", wrapper)


@planted(clause="training.trainer_agrees")
def peft_weights_vanish_where_items_are_counted(fired: Fired) -> Patched:
    """Where the items are counted, as by a Trainer, the loss does not decay."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        config = self.active_peft_config
        decays = config.opt_weighted_loss_type == "decay" and kwargs.get("num_items_in_batch") is not None
        kind = "none" if fired(decays) else config.opt_weighted_loss_type
        with mock.patch.object(config, "opt_weighted_loss_type", kind):
            return original(self, *args, **kwargs)

    return around("peft:PeftModelForCausalLM", "_cpt_forward", wrapper)


@planted(clause="equivalence.step_logits")
def peft_context_not_projected(fired: Fired) -> Patched:
    """Training may move the context as far as it likes."""

    def change(self: Any, projected: Tensor) -> Tensor:
        held = self.delta_embedding.weight.detach().clone()
        return held if fired(not held.equal(projected)) else projected

    return returning(ENCODER, "get_projection", change)


@planted(clause="equivalence.step_logits")
def peft_one_radius_for_all_types(fired: Fired) -> Patched:
    """Inputs may be moved as far as templates, and outputs as well."""

    def change(self: Any, radii: Tensor) -> Tensor:
        fired((radii != radii.max()).any())
        return torch.full_like(radii, float(radii.max()))

    return returning(ENCODER, "get_epsilon", change)


@planted(clause="training.gradient_agrees", weaker=injection.any_gradient)
def peft_outputs_learn(fired: Fired) -> Patched:
    """Outputs have a gradient, too, so that labels can be learnt by heart."""

    def wrapper(original: Any, self: Any) -> None:
        types = self.config.cpt_tokens_type_mask
        fired(any(type % AN_EXAMPLE == 0 for type in types))
        with mock.patch.object(self.config, "cpt_tokens_type_mask", [1] * len(types)):
            original(self)

    return around(ENCODER, "set_updated_tokens", wrapper)


@planted(clause="training.loss_agrees")
def peft_context_has_no_labels(fired: Fired) -> Patched:
    """The outputs of the context do not count towards the loss."""

    def change(labels: Tensor, types: Tensor, n: int) -> tuple[Tensor, Tensor]:
        fired((labels[:, 1:n] != IGNORED).any())
        return torch.cat([torch.full_like(labels[:, :n], IGNORED), labels[:, n:]], dim=1), types

    return priced(change)


@planted(clause="training.loss_agrees")
def peft_loss_decays_towards_the_text(fired: Fired) -> Patched:
    """The first output counts most in the loss, and that of the text least."""

    def change(labels: Tensor, types: Tensor, n: int) -> tuple[Tensor, Tensor]:
        outputs = (types > 0) & (types % AN_EXAMPLE == 0)
        fired(len(types[outputs].unique()) > 1)
        return labels, torch.where(outputs, types.max() + AN_EXAMPLE - types, types)

    return priced(change)


@planted(clause="training.loss_agrees")
def peft_each_label_decays(fired: Fired) -> Patched:
    """The loss decays from label to label, not from example to example."""

    def change(labels: Tensor, types: Tensor, n: int) -> tuple[Tensor, Tensor]:
        outputs = (types > 0) & (types % AN_EXAMPLE == 0)
        fired(max(len(row[of]) - len(row[of].unique()) for row, of in zip(types, outputs, strict=True)))
        return labels, torch.where(outputs, AN_EXAMPLE * outputs.cumsum(1), types)

    return priced(change)


@planted(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here_with_text)
def peft_deltas_not_saved(fired: Fired) -> Patched:
    """Of what training has done nothing is saved, only the context."""

    def change(model: Any, rows: Tensor) -> Tensor:
        fired()
        held: Tensor = model.prompt_encoder[model.active_adapter].embedding.weight.detach().cpu()
        return held

    return saved(change)
