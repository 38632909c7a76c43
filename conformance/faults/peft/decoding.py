"""Faults in how an answer is decoded, and in what one call leaves behind for the next, as patches of PEFT."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from conformance.core.case import PAD
from conformance.faults.patching import CAUSAL, arguments, both, hide, inputs, prompt, returning
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, decoding
from conformance.runs.patching import Patched, around


@in_peft(clause="decoding.repeatable")
def peft_largest_batch_remembered(fired: Fired) -> Patched:
    """After a larger batch, a smaller one no longer sees the last virtual token."""
    largest: dict[int, tuple[Any, int]] = {}

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        rows = len(given["input_ids"])
        before = largest.get(id(self), (self, 0))[1]
        largest[id(self)] = self, max(rows, before)
        if fired(rows < before):
            hide(given, self.active_peft_config.num_virtual_tokens - 1)

    return inputs(change)


@in_peft(clause="decoding.lengths_count_text_only", weaker=answers.step_logits)
def peft_virtual_tokens_count_in_max_length(fired: Fired) -> Patched:
    """max_length counts the virtual tokens as well as the text, so that the answer is shorter."""

    def change(self: Any, given: dict[str, Any]) -> None:
        if fired("max_length" in given):
            least = given["input_ids"].shape[1] + 1
            given["max_length"] = max(least, given["max_length"] - self.active_peft_config.num_virtual_tokens)

    return arguments("generate", change)


@in_peft(clause="decoding.lengths_count_text_only", weaker=answers.told_by_length)
def peft_virtual_tokens_count_in_min_length(fired: Fired) -> Patched:
    """min_length counts the virtual tokens, so that an answer may end before its time."""

    def change(self: Any, given: dict[str, Any]) -> None:
        if fired("min_length" in given):
            given["min_length"] = max(0, given["min_length"] - self.active_peft_config.num_virtual_tokens)

    return arguments("generate", change)


@in_peft(clause="decoding.sampling", weaker=answers.step_logits)
def peft_draws_before(fired: Fired) -> Patched:
    """A random number is drawn whenever the virtual tokens are made, as by a dropout that drops nothing."""

    def change(self: Any, cache: Any) -> None:
        fired()
        torch.rand(1)

    return prompt(change)


@in_peft(clause="decoding.processors_see_text_only", weaker=decoding.processed_tokens)
def peft_pads_for_virtual_tokens(fired: Fired) -> Patched:
    """A user's processors are given a pad for each virtual token in front of the text; all others are given the text."""

    def change(self: Any, given: dict[str, Any]) -> None:
        n = self.active_peft_config.num_virtual_tokens
        given["logits_processor"] = [_behind_pads(one, n, fired) for one in given.get("logits_processor") or []]

    return arguments("generate", change)


def _behind_pads(processor: Any, n: int, fired: Fired) -> Any:
    def called(input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        fired()
        return processor(torch.nn.functional.pad(input_ids, (n, 0), value=PAD), scores)

    return called


@in_peft(clause="decoding.stop_strings", weaker=decoding.never_too_early)
def peft_stop_strings_in_the_answer_alone(fired: Fired) -> Patched:
    """Stop strings are looked for in the answer alone: one that begins in the text ends nothing."""
    return _stopping(fired, lambda stops, ids, width: stops(ids[:, width:]))


@in_peft(clause="decoding.stop_strings", weaker=answers.step_logits)
def peft_stop_strings_in_the_text(fired: Fired) -> Patched:
    """A stop string in the text ends the answer after its first token."""
    return _stopping(
        fired,
        lambda stops, ids, width: torch.stack([stops(ids[:, : at + 1]) for at in range(ids.shape[1])]).any(0),
    )


def _stopping(fired: Fired, ended: Callable[[Any, torch.Tensor, int], torch.Tensor]) -> Patched:
    """The rows that ``ended(stops, ids, width)`` says have ended, where ``stops(ids)`` looks at the end of each row of ``ids``.

    ``ids`` ``(rows, length)`` are text and answer so far, and ``width`` are the columns of the text.
    """

    def change(self: Any, given: dict[str, Any]) -> None:
        if not fired("stop_strings" in given):
            return
        made, width = import_module("transformers.generation.stopping_criteria"), given["input_ids"].shape[1]
        stops = made.StopStringCriteria(given.pop("tokenizer"), given.pop("stop_strings"))
        criterion = lambda ids, scores, **_: ended(lambda seen: stops(seen, scores), ids, width)  # noqa: E731
        given["stopping_criteria"] = made.StoppingCriteriaList([criterion])

    return arguments("generate", change)


@in_peft(clause="decoding.beams", weaker=answers.step_logits)
def peft_beams_see_less(fired: Fired) -> Patched:
    """After the first step of a beam search the first virtual token is not seen any more."""
    beams = 1

    def note(self: Any, given: dict[str, Any]) -> None:
        nonlocal beams
        beams = given.get("num_beams", 1)

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if step > 0 and fired(beams > 1):
            hide(given)

    return both(arguments("generate", note), inputs(change))


@in_peft(clause="decoding.beams", weaker=decoding.returned_answers)
def peft_scores_count_virtual_tokens(fired: Fired) -> Patched:
    """The answers of a beam search are right, but in the scores beside them the virtual tokens count as a part of the answer."""

    def change(self: Any, out: Any) -> Any:
        if fired(getattr(out, "sequences_scores", None) is not None):
            out.sequences_scores = out.sequences_scores / (1 + self.active_peft_config.num_virtual_tokens) ** 0.5
        return out

    return returning(CAUSAL, "generate", change)


@in_peft(clause="decoding.assisted", weaker=answers.step_logits)
def peft_lookup_sees_less(fired: Fired) -> Patched:
    """Under prompt lookup the first virtual token is not seen after the first forward."""
    return _sees_less(fired, "prompt_lookup_num_tokens")


@in_peft(clause="decoding.assistant_model", weaker=answers.step_logits)
def peft_assisted_sees_less(fired: Fired) -> Patched:
    """With an assistant model the first virtual token is not seen after the first forward."""
    return _sees_less(fired, "assistant_model")


def _sees_less(fired: Fired, guessing: str) -> Patched:
    """Where generate is given the argument ``guessing``, the first virtual token is not seen after the first forward."""
    guesses = False

    def note(self: Any, given: dict[str, Any]) -> None:
        nonlocal guesses
        guesses = guessing in given

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if step > 0 and fired(guesses):
            hide(given)

    return both(arguments("generate", note), inputs(change))


@in_peft(clause="decoding.returned_fields", weaker=answers.step_logits)
def peft_attentions_leave_out_virtual_tokens(fired: Fired) -> Patched:
    """What is returned of the attentions leaves out the columns of the virtual tokens."""

    def change(self: Any, out: Any) -> Any:
        if fired(getattr(out, "attentions", None)):
            n = self.active_peft_config.num_virtual_tokens
            out.attentions = tuple(tuple(layer[..., n:] for layer in step) for step in out.attentions)
        return out

    return returning(CAUSAL, "generate", change)


@in_peft(clause="decoding.returned_fields", weaker=decoding.shapes_of_returned)
def peft_states_without_the_prefix(fired: Fired) -> Patched:
    """The hidden states that are returned have the right shapes, and are those of the base model without the prefix."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        out = original(self, *args, **kwargs)
        if fired(kwargs.get("output_hidden_states")):
            out.hidden_states = self.get_base_model().generate(*args, **kwargs).hidden_states
        return out

    return around(CAUSAL, "generate", wrapper)
