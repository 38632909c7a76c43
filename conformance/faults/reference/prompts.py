"""Faults of embeddings in front of the text, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.core.case import PAD
from conformance.families.inputs.text import TYPES
from conformance.faults.common import half, rounded
from conformance.faults.registry import PlantedPrompt, in_reference
from conformance.faults.weaker import answers, lifecycle, precision
from conformance.methods.beginning import told_text
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.methods.prompt_tuning import EMBEDDING
from conformance.methods.reference.cache import Read

planted = partial(in_reference, method="PROMPT_TUNING")


@planted(clause="injection.ignored_never")
class PromptInTrainingOnly(PlantedPrompt):
    """Generate reads no virtual tokens, as in issue 2134."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch them off."""
        with self.disable_adapter() if self.fired() else nullcontext():
            return super().generate(max_new_tokens=max_new_tokens, **request)


@planted(clause="equivalence.step_logits", weaker=answers.one_virtual_token)
class PromptReversed(PlantedPrompt):
    """The virtual tokens are read from the last to the first."""

    def front(self, rows: int) -> Tensor:
        """Turn them round."""
        found = super().front(rows)
        return found.flip(1) if self.fired(found.shape[1] > 1) else found


@planted(clause="equivalence.step_logits", family="t5")
class PromptHiddenFromTheDecoder(PlantedPrompt):
    """The decoder does not look at what the encoder has made of the first virtual token."""

    def run(self, cache: Any, given: Mapping[str, Any], step: int | None = None) -> Any:
        """Hide it."""
        if self.fired(self.enabled):
            mask = given["attention_mask"].clone()
            first = mask.argmax(dim=1)
            mask[torch.arange(len(mask)), first] = 0
            given = {**given, "attention_mask": mask}
        return super().run(cache, given, step)


@planted(clause="equivalence.plain_attention_agrees")
class PromptHalved(PlantedPrompt):
    """The embeddings are halved."""

    def front(self, rows: int) -> Tensor:
        """Halve them."""
        self.fired()
        return 0.5 * super().front(rows)


@planted(clause="equivalence.real_tokens_prefix", family="gemma3", weaker=answers.step_logits)
class PromptRounded(PlantedPrompt):
    """The embeddings are held in bfloat16, in which drawn values are exact, and scaled ones of a real text are not."""

    def front(self, rows: int) -> Tensor:
        """Round."""
        self.fired()
        return rounded(super().front(rows))


@planted(clause="precision.half", weaker=answers.step_logits)
class PromptKeptInFloat32(PlantedPrompt):
    """Whatever the base model's dtype is, it is given embeddings in float32."""

    def embedded(self, text: Tensor) -> Tensor:
        """Widen them."""
        read = super().embedded(text)
        return read.float() if self.fired(half(read.dtype)) else read


@planted(clause="precision.double", weaker=precision.double_as_float32)
class PromptThroughFloat32(PlantedPrompt):
    """Embeddings in float64 go through float32."""

    def front(self, rows: int) -> Tensor:
        """Round them."""
        found = super().front(rows)
        return rounded(found, torch.float32) if self.fired(found.dtype is torch.float64) else found


@planted(clause="injection.once")
class PromptReadTwice(PlantedPrompt):
    """The virtual tokens are read twice, one copy behind the other."""

    @property
    def length(self) -> int:
        """Twice as many."""
        return 2 * super().length

    def front(self, rows: int) -> Tensor:
        """Twice."""
        self.fired()
        return super().front(rows).repeat(1, 2, 1)


@planted(clause="injection.same_for_all_rows")
class PromptOfTheFirstRows(PlantedPrompt):
    """The rows below the second read zeros in place of the virtual tokens."""

    def front(self, rows: int) -> Tensor:
        """Empty them."""
        found = super().front(rows)
        return torch.cat([found[:2], 0 * found[2:]]) if self.fired(rows > 2) else found


@planted(clause="injection.every_parameter_matters")
class PromptPartlyDetached(PlantedPrompt):
    """The last virtual token is read without a gradient."""

    def front(self, rows: int) -> Tensor:
        """Detach it."""
        self.fired()
        found = super().front(rows)
        return torch.cat([found[:, :-1], found[:, -1:].detach()], dim=1)


@planted(clause="training.types_count", family="gpt2")
class TypesStayOutside(PlantedPrompt):
    """The types of tokens do not reach the base model."""

    def trained(self, request: Mapping[str, Any]) -> Any:
        """Leave them out."""
        self.fired(TYPES in request)
        return super().trained({name: value for name, value in request.items() if name != TYPES})


@planted(clause="training.gradient_agrees", weaker=answers.step_logits)
class PromptLearnsHalf(PlantedPrompt):
    """Half of the gradient reaches the embeddings."""

    def front(self, rows: int) -> Tensor:
        """The same values, half of the gradient."""
        self.fired()
        found = super().front(rows)
        return 0.5 * found + 0.5 * found.detach()


@planted(clause="masks.rows_alone")
class PromptCountsPads(PlantedPrompt):
    """Positions count the pads between the virtual tokens and the text."""

    def read(self, request: Mapping[str, Any]) -> Read:
        """Count columns."""
        found = super().read(request)
        if not self.fired(not bool(found.mask.all())):
            return found
        return found._replace(positions=torch.arange(found.mask.shape[1]).expand_as(found.mask))


@planted(clause="masks.rows_alone", family="t5")
class PromptBeforeTheEncodersPads(PlantedPrompt):
    """The encoder reads the virtual tokens before the pads on the left."""

    def order(self, mask: Tensor) -> Tensor:
        """As they come."""
        self.fired(not bool(mask.all()))
        return torch.arange(mask.shape[1]).expand_as(mask)


@planted(clause="masks.given_positions")
class PromptIgnoresGivenPositions(PlantedPrompt):
    """Positions that are given are not moved by the virtual tokens."""

    def counted(self, given: Tensor) -> Tensor:
        """As they were given."""
        self.fired()
        return super().counted(given - self.length)


@planted(clause="caches.kinds_agree")
class PromptHiddenInAStaticCache(PlantedPrompt):
    """A static cache hides the first virtual token."""

    def attention(self, mask: Tensor, width: int, slots: int = 0) -> Any:
        """Hide it."""
        if self.fired(slots and self.length):
            mask = mask.clone()
            mask[:, 0] = 0
        return super().attention(mask, width, slots)


@planted(clause="lifecycle.saved_and_loaded")
class PromptSavedHalved(PlantedPrompt):
    """What is loaded is half of what was saved."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Halve it."""
        super().load(folder, name)
        self.fired()
        self.loaded[name] = 0.5 * self.loaded[name]


@planted(clause="masks.training_rows_alone", weaker=answers.forward_logits_alone)
class PromptCountsInTheLoss(PlantedPrompt):
    """The virtual tokens have labels, which count."""

    def labelled(self, labels: Tensor) -> Tensor:
        """Label them."""
        self.fired()
        return pad(labels, (self.length, 0), value=0)


@planted(clause="positions.start_after_prefix")
class PromptAtNoPosition(PlantedPrompt):
    """All virtual tokens are at position 0, and the text begins there, too."""

    def read(self, request: Mapping[str, Any]) -> Read:
        """Move everything to the front."""
        found = super().read(request)
        self.fired(self.length)
        return found._replace(positions=(found.positions - self.length).clamp(min=0))


@planted(clause="lifecycle.disabled", family="t5")
class PromptOfADisabledAdapter(PlantedPrompt):
    """The encoder reads the virtual tokens in generate, whether the adapter is off or not."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it on."""
        before, self.enabled = self.enabled, True
        self.fired(not before)
        try:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        finally:
            self.enabled = before


@planted(clause="caches.without_cache", weaker=answers.first_token_without_cache)
class PromptLostWithoutCache(PlantedPrompt):
    """Without a cache the virtual tokens are zeros from the second step on."""

    def lengthened(self, read: Mapping[str, Tensor], token: Tensor) -> dict[str, Tensor]:
        """Empty the first columns."""
        found = super().lengthened(read, token)
        if self.fired("inputs_embeds" in found and self.length):
            found["inputs_embeds"][:, : self.length] = 0
        return found


@planted(clause="placement.split")
class PromptOnItsOwnDevice(PlantedPrompt):
    """The embeddings stay on the CPU, wherever the text is."""

    def embedded(self, text: Tensor) -> Tensor:
        """Leave them there."""
        front = self.front(len(text)).cpu()
        base: Any = self.base
        embeds = text if text.is_floating_point() else base.get_input_embeddings()(text)
        self.fired(embeds.device != front.device)
        return torch.cat([front.to(embeds.dtype), embeds], dim=1)


@planted(clause="decoding.processors_see_text_only")
class VirtualTokensAreTheText(PlantedPrompt):
    """What rewards the tokens of the text is told of pads in their place, as if it had read virtual tokens."""

    def told(self, request: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Forget the text."""
        ids, text = super().told(request)
        self.fired()
        return ids, torch.full_like(text, PAD)


@planted(clause="lifecycle.initialised_as_told", weaker=lifecycle.first_word_of_a_text)
class TextIsNotRepeated(PlantedPrompt):
    """A text that is shorter than the prompt leaves the other virtual tokens as they are."""

    def begin(self, name: str) -> None:
        """Clear what is repeated."""
        super().begin(name)
        words, raw = len(told_text(self.cases[name])), self.named_raw(name)
        if self.fired(self.cases[name].prefix.begins == "text" and words < len(raw[EMBEDDING])):
            with torch.no_grad():
                raw[EMBEDDING][words:] = 0


@planted(clause="lifecycle.initialised_as_told")
class BeginsAtRandomWhateverIsTold(PlantedPrompt):
    """A new prompt does not begin as it is told."""

    def begin(self, name: str) -> None:
        """Do nothing."""
        self.fired()
