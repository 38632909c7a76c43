"""Faults in how generate and forward use the prefix, and in what one call leaves behind for the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.faults import weaker
from conformance.faults.registry import Planted, in_reference


def hiding(given: Mapping[str, Any], column: int = 0) -> dict[str, Any]:
    """The arguments of a forward with one column of the mask set to 0."""
    mask = given["attention_mask"].clone()
    mask[:, column] = 0
    return {**given, "attention_mask": mask}


@in_reference(clause="equivalence.step_logits", weaker=weaker.first_steps)
class FromTheFifthToken(Planted):
    """From the fifth token on, the first virtual token is no longer seen."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Hide it late."""
        if step is not None and step >= 4 and self.enabled:
            self.fired()
            given = hiding(given)
        return super().run(cache, given, step)


@in_reference(clause="equivalence.greedy_tokens", weaker=weaker.step_logits)
class RunnerUp(Planted):
    """From the fifth token on, the second best token is chosen; the logits are right."""

    def choose(self, logits: Tensor, step: int) -> Tensor:
        """Take the runner-up."""
        if step < 4:
            return super().choose(logits, step)
        self.fired()
        return logits.topk(2).indices[:, 1:]


@in_reference(clause="equivalence.forward_agrees_with_generate", weaker=weaker.step_logits)
class ForwardHidesOne(Planted):
    """The training forward's mask hides the first virtual token, generate's does not."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Hide it in training."""
        if step is None:
            self.fired()
            given = hiding(given)
        return super().run(cache, given, step)


@in_reference(clause="equivalence.step_logits", weaker=weaker.twenty_virtual_tokens)
class AsLongAsThePrompt(Planted):
    """Where the prefix is as long as the prompt, the first virtual token is hidden."""

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Hide it at equal lengths."""
        mask = super().mask(given, rows, width)
        if width == self.length:
            self.fired()
            mask[:, 0] = 0
        return mask


@in_reference(clause="equivalence.embeds_agree_with_ids", weaker=weaker.step_logits)
class EmbedsWithoutPrefix(Planted):
    """Generate from inputs_embeds forgets the prefix."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it off for embeddings."""
        if "inputs_embeds" not in request:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        self.fired()
        with self.disable_adapter():
            return super().generate(max_new_tokens=max_new_tokens, **request)


@in_reference(clause="injection.once", weaker=weaker.first_call_grows)
class CacheReused(Planted):
    """A second generate call on as many rows is given the first one's cache object."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kept: dict[int, Any] = {}

    def cache(self, rows: int) -> Any:
        """Keep it; training makes a fresh one."""
        if not self.enabled or torch.is_grad_enabled():
            return super().cache(rows)
        if rows in self.kept:
            self.fired()
        return self.kept.setdefault(rows, super().cache(rows))


@in_reference(clause="decoding.repeatable", weaker=weaker.twice)
class LargestBatchRemembered(Planted):
    """After a larger batch, a smaller one no longer sees the last virtual token."""

    largest = 0

    def mask(self, given: Tensor | None, rows: int, width: int) -> Tensor:
        """Hide it once a larger batch was seen."""
        mask = super().mask(given, rows, width)
        self.largest = max(rows, self.largest)
        if rows < self.largest and self.length:
            self.fired()
            mask[:, self.length - 1] = 0
        return mask


@in_reference(clause="injection.parameters_untouched")
class ParametersHalved(Planted):
    """Each generate call halves the adapter's parameters."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Answer, then halve."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        self.fired()
        with torch.no_grad():
            for parameter in self.named_raw().values():
                parameter.mul_(0.5)
        return out


@in_reference(clause="injection.parameters_untouched", weaker=weaker.parameters_close)
class OneBitTouched(Planted):
    """Each generate call changes the last bit of one parameter."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Answer, then touch."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        self.fired()
        with torch.no_grad():
            row = next(iter(self.named_raw().values()))[0]
            row[0] = torch.nextafter(row[0], row[0] + 1)
        return out


@in_reference(clause="injection.parameters_untouched")
class ConfigTouched(Planted):
    """Generate leaves use_cache=False in the base model's config."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Answer, then touch."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        self.fired()
        self.base.config.use_cache = False  # type: ignore[union-attr]
        return out


@in_reference(clause="injection.parameters_untouched", weaker=weaker.parameters_close)
class UsersMaskTouched(Planted):
    """The mask that the user passed is filled with ones, in place; the wrapper works on a copy of it."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Answer, then touch."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        if not request["attention_mask"].all():
            self.fired()
            request["attention_mask"].fill_(1)
        return out
