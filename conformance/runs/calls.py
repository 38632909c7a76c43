"""Calls of a subject: what it is given, and its answer on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.core.decodings import DECODINGS
from conformance.runs.judged_code import failed, guarded
from conformance.runs.recording import Recorder
from conformance.runs.subject import Subject
from conformance.runs.watching import Told, Watching


class Generated(NamedTuple):
    """What generate returned, its new tokens ``(rows, steps)``, and its logits ``(rows, steps, vocabulary)``.

    ``random`` is the state in which a call that samples left torch's generator of random numbers. ``told`` are the real tokens
    that our own processor of logits, and our own stopping criterion, were given in each step, where there are processors.
    ``scores`` ``(rows * returned,)`` are those of the answers that a beam search returned.
    """

    out: Any
    tokens: Tensor
    logits: Tensor
    random: Tensor | None
    told: tuple[Told, Told]
    scores: Tensor | None


def generate(subject: Subject, case: Case, given: dict[str, Tensor], seen: Recorder | None = None) -> Generated:
    """Generate as ``case`` says, from the arguments ``given``, which lie on the subject's device."""
    watching = Watching()
    asked = {"max_new_tokens": case.new_tokens, **decoding(case)}
    if case.decoding == "processed":
        asked |= watching.arguments()
    with torch.no_grad(), subject.in_mode_of(case), _seeded(case) as state:
        out = guarded("generate", lambda: subject.generate(**given, **asked), lambda: bool(seen and seen.layer_ran))
        random = state()
    logits = torch.stack([on_cpu("generate", step) for step in out.logits], dim=1)
    searched = getattr(out, "sequences_scores", None)
    # A search may go on behind the end of what it returns.
    begun = -logits.shape[1] if searched is None else _begun(case, given)
    tokens = on_cpu("generate", out.sequences)[:, begun:]
    return Generated(out, tokens, logits, random, watching.told, searched)


def _begun(case: Case, given: dict[str, Tensor]) -> int:
    """How many tokens are in front of an answer."""
    if case.roles.encoder_layers:
        return 1
    return given["input_ids"].shape[1] if "input_ids" in given else 0


@contextmanager
def _seeded(case: Case) -> Iterator[Callable[[], Tensor | None]]:
    """If ``case`` samples, random numbers begin with its seed inside, and afterwards go on as if none had been drawn.

    What it gives says in which state the generator is. A call that does not sample has no seed: what is random there would be
    hidden by one.
    """
    if not DECODINGS[case.decoding].get("do_sample"):
        yield lambda: None
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(case.seed)
        yield torch.default_generator.get_state


def decoding(case: Case) -> dict[str, Any]:
    """How generate is told to decode, beyond the defaults."""
    beams = {"num_beams": case.beams} if case.beams > 1 else {}
    return {**beams, **DECODINGS[case.decoding], **_CACHES[case.cache]}


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
