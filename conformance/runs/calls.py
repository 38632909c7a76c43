"""Calls of a subject: what it is given, and its answer on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from conformance.core.case import FIRST_END_TOKEN, VOCABULARY, Case
from conformance.runs.judged_code import failed, guarded
from conformance.runs.recording import Recorder
from conformance.runs.subject import Subject


class Generated(NamedTuple):
    """What generate returned, its new tokens ``(rows, steps)``, and its logits ``(rows, steps, vocabulary)``.

    ``sequences`` ``(rows, columns)`` are text and answer as they were returned, ``streamed`` as a streamer was told.
    """

    out: Any
    tokens: Tensor
    logits: Tensor
    sequences: Tensor
    streamed: Tensor | None


def generate(
    subject: Subject,
    case: Case,
    given: dict[str, Tensor],
    seen: Recorder | None = None,
    told: dict[str, Any] | None = None,
) -> Generated:
    """Generate as ``case`` says, from the arguments ``given``, which lie on the subject's device.

    ``told`` are the arguments that say how long the answer is, where it is not the Case that says it.
    """
    streamer = Streamer() if case.streamed else None
    asked = {
        **(lengths(case, read_first(subject, given)) if told is None else told),
        **decoding(case),
        **({"streamer": streamer} if streamer else {}),
    }
    with torch.no_grad(), subject.in_mode_of(case):
        out = guarded("generate", lambda: subject.generate(**given, **asked), lambda: bool(seen and seen.layer_ran))
    logits = torch.stack([on_cpu("generate", step) for step in out.logits], dim=1)
    sequences = on_cpu("generate", out.sequences)
    return Generated(
        out, sequences[:, -logits.shape[1] :], logits, sequences, None if streamer is None else streamer.told()
    )


class Streamer:
    """What is told of each token as it comes: of the text's first, all rows at once, and at last of the end."""

    def __init__(self) -> None:
        self.heard: list[Tensor] = []
        self.ended = False

    def put(self, tokens: Tensor) -> None:
        """Hear the text ``(rows, columns)``, and then one token of each row ``(rows,)``."""
        self.heard.append(tokens.reshape(len(tokens), -1))

    def end(self) -> None:
        """Hear that this was all."""
        self.ended = True

    def told(self) -> Tensor:
        """All that was heard, ``(rows, columns)``; nothing, if not that it has ended."""
        return torch.cat(self.heard, dim=1) if self.heard and self.ended else torch.empty(0, 0, dtype=torch.long)


def read_first(subject: Subject, given: dict[str, Tensor]) -> int:
    """How many columns ``max_length`` counts beside the answer: those of the text, or a decoder's start token."""
    if subject.family.encoder_decoder:
        return 1
    return given["input_ids" if "input_ids" in given else "inputs_embeds"].shape[1]


def lengths(case: Case, read: int) -> dict[str, Any]:
    """How generate is told when to stop: after so many tokens, or, of several that end an answer, not before the last step."""
    most, least = case.new_tokens, case.new_tokens - 1
    ends = {"eos_token_id": list(range(FIRST_END_TOKEN, VOCABULARY))} if case.ends else {}
    if case.told == "length":
        return {"max_length": read + most, **ends, **({"min_length": read + least} if ends else {})}
    return {"max_new_tokens": most, **ends, **({"min_new_tokens": least} if ends else {})}


def decoding(case: Case) -> dict[str, Any]:
    """How generate is told to decode, beyond the defaults."""
    beams = {"num_beams": case.beams} if case.beams > 1 else {}
    return beams | _CACHES[case.cache]


_CACHES: dict[str, dict[str, Any]] = {
    "dynamic": {},
    "static": {"cache_implementation": "static"},
    "none": {"use_cache": False},
}


def on_device(device: torch.device, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arguments ``given``, each on ``device``."""
    return {name: value.to(device) for name, value in given.items()}


def on_cpu(call: str, answer: Tensor) -> Tensor:
    """``answer`` on the CPU. One without data, for want of weights that were loaded, is no answer: a crash of the subject."""
    if answer.is_meta:
        raise failed(call, NotImplementedError("the answer has no data: it is on the meta device"), True)
    return answer.cpu()


def copies(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of every argument."""
    return {name: value.clone() for name, value in given.items()}


def changed(before: dict[str, Tensor], given: dict[str, Tensor]) -> tuple[str, ...]:
    """The names of the arguments whose tensors are no longer those of ``before``."""
    return tuple(name for name, value in before.items() if not torch.equal(value, given[name]))
