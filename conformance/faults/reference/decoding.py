"""Faults in how an answer is decoded, and in what one call leaves behind for the next, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import PAD
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import answers, decoding
from conformance.faults.wrappers import ChangesAfterGenerate, HidesVirtualToken
from conformance.methods.reference.decoding import Decoding


@in_reference(clause="decoding.repeatable", weaker=answers.twice)
class LargestBatchRemembered(HidesVirtualToken):
    """After a larger batch, a smaller one no longer sees the last virtual token."""

    largest = 0

    def hidden(self, given: Tensor | None, rows: int, width: int) -> int | None:
        """The last, once a larger batch was seen."""
        self.largest = max(rows, self.largest)
        return self.length - 1 if rows < self.largest else None


@in_reference(clause="decoding.lengths_count_text_only", weaker=answers.step_logits)
class VirtualTokensCountInMaxLength(Planted):
    """max_length counts the virtual tokens as well as the text, so that the answer is shorter."""

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Count them."""
        found = super().in_new_tokens(request)
        if self.fired("max_length" in request):
            found["max_new_tokens"] = max(1, found["max_new_tokens"] - self.length)
        return found


@in_reference(clause="decoding.lengths_count_text_only", weaker=answers.told_by_length)
class VirtualTokensCountInMinLength(Planted):
    """min_length and min_new_tokens count the virtual tokens, so that an answer may end before its time."""

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Count them."""
        found = super().in_new_tokens(request)
        if self.fired("min_new_tokens" in found):
            found["min_new_tokens"] -= self.length
        return found


@in_reference(clause="decoding.lengths_count_text_only", weaker=answers.told_by_length)
class VirtualTokensStreamed(Planted):
    """A streamer is told of a pad for each virtual token before it is told of the text."""

    def in_new_tokens(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Tell it."""
        if self.fired("streamer" in request):
            request["streamer"].put(torch.full((len(request["input_ids"]), self.length), PAD))
        return super().in_new_tokens(request)


@in_reference(clause="decoding.sampling", weaker=answers.step_logits)
class DrawsBefore(Planted):
    """A random number is drawn whenever the virtual tokens are made, as by a dropout that drops nothing."""

    def layers(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Draw one."""
        self.fired()
        torch.rand(1)
        return super().layers(rows)


@in_reference(clause="decoding.sampling", weaker=decoding.sampled_tokens)
class DrawsAfterwards(ChangesAfterGenerate):
    """A random number is drawn when the answer is ready: it is right, and the next call's is another one than without."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Draw one."""
        self.fired()
        torch.rand(1)


@in_reference(clause="decoding.processors_see_text_only", weaker=decoding.processed_tokens)
class PadsForVirtualTokens(Planted):
    """Processors are given a pad for each virtual token in front of the text, which changes no answer, but what users see."""

    def told(self, request: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Put them there."""
        ids, text = super().told(request)
        self.fired(self.length)
        return torch.nn.functional.pad(ids, (self.length, 0), value=PAD), text


@in_reference(clause="decoding.stop_strings", weaker=decoding.never_too_early)
class PadsBeforeTheAnswer(Planted):
    """For a criterion a pad for each virtual token stands behind the text: a stop string that begins there ends nothing."""

    def told(self, request: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Put them there."""
        ids, text = super().told(request)
        self.fired(self.length)
        return torch.nn.functional.pad(ids, (0, self.length), value=PAD), text


@in_reference(clause="decoding.beams")
class PenaltyCountsVirtualTokens(Planted):
    """A length penalty counts the virtual tokens as a part of the answer."""

    def divisor(self, length: int, decoding: Decoding) -> float:
        """Count them."""
        self.fired(self.length)
        return super().divisor(length + self.length, decoding)


@in_reference(clause="decoding.beams", weaker=decoding.returned_answers)
class ScoresCountVirtualTokens(Planted):
    """The answers of a beam search are right, but in the scores beside them the virtual tokens count as a part of the answer."""

    def searched(self, steps: int, given: dict[str, Any], decoding: Decoding) -> Any:
        """Count them."""
        out = super().searched(steps, given, decoding)
        self.fired(self.length)
        out.sequences_scores = out.sequences_scores / self.divisor(1 + self.length, decoding)
        return out


@in_reference(clause="decoding.assisted", weaker=answers.step_logits)
class GuessesNotVerified(Planted):
    """Where the last token is found in the text, what follows it there is the answer, whatever the logits say."""

    def choose(self, logits: Tensor, step: int, decoding: Decoding) -> Tensor:
        """Believe the guess."""
        best = super().choose(logits, step, decoding)
        if not decoding.prompt_lookup_num_tokens:
            return best
        before, after = decoding.ids[:, :-1], decoding.ids[:, 1:]
        for row, last in enumerate(decoding.ids[:, -1]):
            guesses = after[row][before[row] == last]
            if self.fired(len(guesses)):
                best[row] = guesses[0]
        return best


@in_reference(clause="decoding.assistant_model", weaker=decoding.assisted_first_tokens)
class AssistantAnswers(Planted):
    """What an assistant guesses is the answer, whatever the logits say."""

    def choose(self, logits: Tensor, step: int, decoding: Decoding) -> Tensor:
        """Believe it."""
        best = super().choose(logits, step, decoding)
        if self.fired(decoding.assistant_model is not None):
            best = decoding.assistant_model(input_ids=decoding.ids).logits[:, -1].argmax(-1, keepdim=True)
        return best


@in_reference(clause="decoding.returned_fields", weaker=answers.step_logits)
class AttentionsLeaveOutVirtualTokens(ChangesAfterGenerate):
    """What is returned of the attentions leaves out the columns of the virtual tokens."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Leave them out."""
        if self.fired(hasattr(out, "attentions")):
            out.attentions = tuple(tuple(layer[..., self.length :] for layer in step) for step in out.attentions)


@in_reference(clause="decoding.returned_fields", weaker=decoding.shapes_of_returned)
class AttentionsOfTheTextAlone(ChangesAfterGenerate):
    """What is returned of the attentions says that nobody looks at a virtual token: its columns are zeros."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Clear them."""
        for step in getattr(out, "attentions", ()):
            for layer in step:
                self.fired()
                layer[..., : self.length] = 0


@in_reference(clause="decoding.returned_fields", weaker=decoding.shapes_of_returned)
class StatesOfTheStepBefore(ChangesAfterGenerate):
    """The hidden states of every step but the first two are those of the step before."""

    def change(self, out: Any, request: Mapping[str, Any]) -> None:
        """Repeat one."""
        states = getattr(out, "hidden_states", ())
        if self.fired(len(states) > 2):
            out.hidden_states = (*states[:2], *states[1:-1])
