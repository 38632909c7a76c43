"""Faults as patches of PEFT: masks, positions, labels and inputs of its generate and forward."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from conformance.core.case import PAD
from conformance.faults import weaker
from conformance.faults.patching import CAUSAL, MODEL, around, both, hide, inputs, mask_of
from conformance.faults.registry import Fired, in_peft
from conformance.runs.training_batch import IGNORED

Patched = AbstractContextManager[Any]


@in_peft(clause="equivalence.step_logits")
def peft_from_the_fifth_token(fired: Fired) -> Patched:
    """From the fifth token on, the first virtual token is no longer seen."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if step >= 4:
            fired()
            hide(given)

    return inputs(change)


@in_peft(clause="equivalence.step_logits")
def peft_as_long_as_the_prompt(fired: Fired) -> Patched:
    """Where the prefix is as long as the prompt, the first virtual token is hidden."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if mask_of(given).shape[1] - step == 2 * self.active_peft_config.num_virtual_tokens:
            fired()
            hide(given)

    return inputs(change)


@in_peft(clause="masks.attention_implementations")
def peft_eager_blind(fired: Fired) -> Patched:
    """The eager implementation of attention does not see the first virtual token."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if self.base_model.config._attn_implementation == "eager":
            fired()
            hide(given)

    return inputs(change)


@in_peft(clause="masks.rows_alone")
def peft_mask_one_short_on_the_wrong_side(fired: Fired) -> Patched:
    """The mask of the virtual tokens is one short on the left and one long on the right, which only pads show."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if not mask_of(given).all():
            fired()
            given["attention_mask"] = given["attention_mask"].roll(-1, dims=1)

    return inputs(change)


@in_peft(clause="masks.omitted_mask")
def peft_bool_mask_inverted(fired: Fired) -> Patched:
    """In a bool mask True is taken for a pad."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        mask = kwargs.get("attention_mask")
        if mask is not None and mask.dtype is torch.bool:
            fired()
            kwargs["attention_mask"] = ~mask
        return original(self, *args, **kwargs)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="positions.start_after_prefix")
def peft_position_sticks(fired: Fired) -> Patched:
    """The fourth and later tokens have the position of the token before."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if step >= 3:
            fired()
            given["position_ids"] = given["position_ids"] - 1

    return inputs(change)


@in_peft(clause="positions.start_after_prefix")
def peft_positions_start_at_zero(fired: Fired) -> Patched:
    """The text's positions start at 0 in generate, as if there were no prefix."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        fired()
        given["position_ids"] = given["position_ids"] - self.active_peft_config.num_virtual_tokens

    return inputs(change)


@in_peft(clause="positions.skip_padding")
def peft_pads_counted(fired: Fired) -> Patched:
    """Pads between prefix and text are counted as positions in generate."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        mask = mask_of(given)
        if not mask.all():
            fired()
            width = given["position_ids"].shape[1]
            given["position_ids"] = torch.arange(mask.shape[1])[-width:].expand(len(mask), -1)

    return inputs(change)


@in_peft(clause="masks.row_order")
def peft_positions_of_the_first_row(fired: Fired) -> Patched:
    """Every row is given the positions of the first."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if not mask_of(given).all():
            fired()
            given["position_ids"] = given["position_ids"][:1].expand_as(given["position_ids"])

    return inputs(change)


@in_peft(clause="positions.fit_the_table", family="gpt2")
def peft_clamped_to_the_table(fired: Fired) -> Patched:
    """Positions beyond the learned table are clamped to its last row, so that there is an answer."""

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        last = self.base_model.config.n_positions - 1
        if int(given["position_ids"].max()) > last:
            fired()
            given["position_ids"] = given["position_ids"].clamp(max=last)

    return inputs(change)


@in_peft(clause="masks.given_positions")
def peft_given_positions_not_offset(fired: Fired) -> Patched:
    """The training forward uses explicit position_ids as they are, without n."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("position_ids") is not None:
            fired()
            kwargs["position_ids"] = kwargs["position_ids"] - self.active_peft_config.num_virtual_tokens
        return original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)


@in_peft(clause="equivalence.greedy_tokens", weaker=weaker.step_logits)
def peft_runner_up(fired: Fired) -> Patched:
    """A logits processor of the wrapper's own bans each best token from the fifth on; the raw logits are right."""

    def ban(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        if len(steps) < 5:
            return scores
        fired()
        return scores.scatter(1, scores.argmax(-1, keepdim=True), -torch.inf)

    steps: list[int] = []

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.clear()
        banned = {} if self._adapters_disabled else {"logits_processor": [ban]}
        return original(self, *args, **kwargs, **banned)

    return around(CAUSAL, "generate", wrapper)


@in_peft(clause="equivalence.forward_agrees_with_generate")
def peft_forward_hides_one(fired: Fired) -> Patched:
    """The training forward's cache has lost the first virtual token's values, generate's has not."""
    inside: list[bool] = []

    def forward(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        inside.append(True)
        try:
            return original(self, *args, **kwargs)
        finally:
            inside.pop()

    def get_prompt(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        cache = original(self, *args, **kwargs)
        for layer in cache.layers if inside else ():
            fired()
            layer.values = torch.cat([0 * layer.values[..., :1, :], layer.values[..., 1:, :]], -2)
        return cache

    return both(around(CAUSAL, "forward", forward), around(MODEL, "get_prompt", get_prompt))


@in_peft(clause="masks.training_rows_alone")
def peft_loss_counts_pads(fired: Fired) -> Patched:
    """Ignored labels count towards the loss, as if the pad were to be predicted there."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        labels = kwargs.get("labels")
        if labels is not None:
            fired()
            kwargs["labels"] = labels.masked_fill(labels == IGNORED, PAD)
        return original(self, *args, **kwargs)

    return around(CAUSAL, "forward", wrapper)
