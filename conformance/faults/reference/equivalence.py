"""Faults in what generate and forward answer, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from torch import Tensor

from conformance.faults.common import rounded
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers
from conformance.faults.wrappers import HidesVirtualToken
from conformance.methods.prefix_tuning import OUT_BIAS
from conformance.methods.reference.decoding import Decoding


def first_hidden(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a forward with the first virtual token hidden in the mask."""
    mask = given["attention_mask"].clone()
    mask[:, 0] = 0
    return {**given, "attention_mask": mask}


@in_reference(clause="equivalence.greedy_tokens", weaker=answers.step_logits)
class RunnerUp(Planted):
    """From the fifth token on, the second best token is chosen; the logits are right."""

    def choose(self, logits: Tensor, step: int, decoding: Decoding) -> Tensor:
        """Take the runner-up."""
        if self.fired(step >= 4):
            return logits.topk(2).indices[:, 1:]
        return super().choose(logits, step, decoding)


@in_reference(clause="equivalence.step_logits", family="gemma3")
class WindowsExchanged(Planted):
    """Full layers get the mask of the sliding ones, and the reverse."""

    def attention(self, mask: Tensor, width: int, slots: int = 0) -> Any:
        """Exchange the two masks."""
        masks = super().attention(mask, width, slots)
        if self.fired(isinstance(masks, dict)):
            return {"full_attention": masks["sliding_attention"], "sliding_attention": masks["full_attention"]}
        return masks


@in_reference(clause="equivalence.step_logits", family="mistral")
class PrefixOutlivesTheWindow(Planted):
    """The virtual tokens stay visible after the sliding window has passed them."""

    def attention(self, mask: Tensor, width: int, slots: int = 0) -> Any:
        """Open their columns."""
        masks = super().attention(mask, width, slots)
        if self.fired(masks.dim() == 4 and self.length):
            masks[..., : self.length] = 0
        return masks


@in_reference(clause="equivalence.step_logits", weaker=answers.first_steps)
class FromTheFifthToken(Planted):
    """From the fifth token on, the first virtual token is no longer seen."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Hide it late."""
        if self.fired(step is not None and step >= 4 and self.enabled):
            given = first_hidden(given)
        return super().run(cache, given, step)


@in_reference(clause="equivalence.step_logits", weaker=answers.twenty_virtual_tokens)
class AsLongAsThePrompt(HidesVirtualToken):
    """Where the prefix is as long as the prompt, the first virtual token is hidden."""

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The first, at equal lengths."""
        return 0 if width == self.length else None


@in_reference(clause="equivalence.step_logits", weaker=answers.unprojected)
class OnlyWithProjection(Planted):
    """The projection forgets the bias of its last layer."""

    def flat(self) -> Tensor:
        """Take the bias off again."""
        rows, raw = super().flat(), self.named_raw()
        return rows - raw[OUT_BIAS] if self.fired(OUT_BIAS in raw and self.collapsed is None) else rows


@in_reference(clause="equivalence.real_tokens_prefix", weaker=answers.step_logits)
class RoundedWithoutProjection(Planted):
    """A prefix without projection is held in bfloat16, in which the drawn values are exact and real ones are not."""

    def flat(self) -> Tensor:
        """Round."""
        rows = super().flat()
        return rounded(rows) if self.fired(not self.shape_of.prefix.projection) else rows


@in_reference(clause="equivalence.forward_agrees_with_generate", weaker=answers.step_logits)
class ForwardHidesOne(Planted):
    """The training forward's mask hides the first virtual token, generate's does not."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Hide it in training."""
        if self.fired(step is None):
            given = first_hidden(given)
        return super().run(cache, given, step)


@in_reference(clause="equivalence.position_agrees_with_name", weaker=answers.step_logits)
class UnnamedTextTurnedRound(Planted):
    """A text that is passed without a name is read from its end."""

    def named(self, *text: Tensor) -> dict[str, Tensor]:
        """Turn it round."""
        found = super().named(*text)
        return {name: ids.flip(1) if self.fired(ids.shape[1] > 1) else ids for name, ids in found.items()}


@in_reference(clause="equivalence.embeds_agree_with_ids", weaker=answers.step_logits)
class EmbedsWithoutPrefix(Planted):
    """Generate from inputs_embeds forgets the prefix."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it off for embeddings."""
        with self.disable_adapter() if self.fired("inputs_embeds" in request) else nullcontext():
            return super().generate(max_new_tokens=max_new_tokens, **request)
