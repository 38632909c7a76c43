"""A conversation of two turns: a text, its answer, a further text, and the answer to all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.core.case import FIRST_TEXT_TOKEN, Case
from conformance.core.relations import first_steps
from conformance.families.inputs import inputs_of
from conformance.runs.calls import generate, on_device
from conformance.runs.judged_code import guarded
from conformance.runs.recording import recording
from conformance.runs.trace import Trace

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

ANSWERED = 2
"""Tokens of the first answer, at most, and of the second."""
FURTHER = (FIRST_TEXT_TOKEN + 2, FIRST_TEXT_TOKEN + 4)
"""The further text of every row."""


def second_answer(lab: Lab, case: Case, from_cache: bool, further: tuple[int, ...]) -> Trace:
    """The answer to the further text: going on from the cache of the first call, or starting afresh with all that was said."""
    subject, short = lab.subject(case), first_steps(case, ANSWERED)
    asked = torch.tensor([further], dtype=torch.long).expand(len(case.rows), -1)
    said = torch.cat([lab.generate(case).tokens[:, :ANSWERED], asked], dim=1)
    given: dict[str, Any] = on_device(subject.input_device, all_of_it(lab, case, said))
    if from_cache:
        first = generate(subject, short, on_device(subject.input_device, lab.request(case)))
        given[caches.argument(subject.base)] = caches.returned(first.out)
    with recording(subject.base, subject.family, case) as seen:
        got = generate(subject, short, given, seen)
    return Trace(case, got.tokens, got.logits, lambda: lab.error(case, torch.cat([said, got.tokens], dim=1)))


def all_of_it(lab: Lab, case: Case, said: Tensor) -> dict[str, Tensor]:
    """The request with what was ``said`` ``(rows, columns)`` behind the text of a decoder."""
    given, inputs = lab.request(case), inputs_of(lab.family(case))
    beside = {name: value for name, value in given.items() if name in inputs.arguments}
    given["input_ids"] = torch.cat([given["input_ids"], said], dim=1)
    if "attention_mask" in given:
        real = torch.ones_like(said).to(given["attention_mask"])
        given["attention_mask"] = torch.cat([given["attention_mask"], real], dim=1)
    return {**given, **inputs.for_longer_text(beside, given["input_ids"].shape[1])}


def goes_on(lab: Lab, case: Case) -> Tensor:
    """The tokens ``(rows, steps)`` of two calls on the bare base model, the second going on from the first one's cache."""
    subject = lab.subject(case)
    given = on_device(subject.input_device, lab.request(case))
    text = "decoder_input_ids" if subject.family.encoder_decoder else "input_ids"
    inputs = inputs_of(subject.family)
    beside = {name: value for name, value in given.items() if name in inputs.arguments}
    with torch.no_grad():
        first = guarded("generate", lambda: subject.generate(**given, max_new_tokens=2))
        given[text] = first.sequences
        if not subject.family.encoder_decoder and "attention_mask" in given:
            answered = torch.ones_like(first.sequences[:, :2])
            given["attention_mask"] = torch.cat([given["attention_mask"], answered.to(given["attention_mask"])], dim=1)
        later = inputs.for_longer_text(beside, first.sequences.shape[1])
        given = {name: value for name, value in given.items() if name not in beside} | later
        cache = {caches.argument(subject.base): caches.returned(first)}
        out = guarded("generate", lambda: subject.generate(**given, **cache, max_new_tokens=2))
    found: Tensor = out.sequences.cpu()
    return found
