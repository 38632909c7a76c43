"""Calls of a subject: what it is given, and its answer on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.runs.judged_code import failed, guarded
from conformance.runs.recording import Recorder
from conformance.runs.subject import Subject


class Generated(NamedTuple):
    """What generate returned, its new tokens ``(rows, steps)``, and its logits ``(rows, steps, vocabulary)``."""

    out: Any
    tokens: Tensor
    logits: Tensor


def generate(
    subject: Subject,
    case: Case,
    given: dict[str, Tensor],
    seen: Recorder | None = None,
    told: dict[str, Any] | None = None,
) -> Generated:
    """Generate as ``case`` says, from the arguments ``given``, which lie on the subject's device.

    ``told`` are the arguments that say how long the answer is, by default ``max_new_tokens`` alone.
    """
    asked = {**({"max_new_tokens": case.new_tokens} if told is None else told), **decoding(case)}
    with torch.no_grad(), subject.in_mode_of(case):
        out = guarded("generate", lambda: subject.generate(**given, **asked), lambda: bool(seen and seen.layer_ran))
    logits = torch.stack([on_cpu("generate", step) for step in out.logits], dim=1)
    return Generated(out, on_cpu("generate", out.sequences)[:, -logits.shape[1] :], logits)


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
