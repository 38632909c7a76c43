"""Calls of a subject: what it is given, and its answer on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from conformance.compat import cache_kinds, caches
from conformance.core.case import FIRST_END_TOKEN, HANDED_IN, IGNORED, VOCABULARY, Case
from conformance.core.decodings import DECODINGS
from conformance.core.signals import violation
from conformance.families.inputs.text import token_ids
from conformance.families.vocabulary import fast_tokenizer, stop_strings
from conformance.methods import method_named
from conformance.runs.judged_code import failed, guarded
from conformance.runs.recording import Recorder
from conformance.runs.subject import Subject
from conformance.runs.watching import Streamer, Told, Watching

ACCUMULATED = 2
"""Batches before a step, where their items are counted: a trainer tells each how many there are in all."""
COUNTED = {"counted": ACCUMULATED, "counted_alone": 1}
"""Of how many batches a trainer counts the items, by how it calls."""
MADE_OF_LABELS = frozenset({"decoder_input_ids", "decoder_attention_mask"})
"""What an encoder-decoder makes of labels by itself."""


class Generated(NamedTuple):
    """What generate returned, its new tokens ``(rows, steps)``, and its logits ``(rows, steps, vocabulary)``.

    ``sequences`` ``(rows, columns)`` are text and answer as they were returned, ``streamed`` as a streamer was told.
    ``random`` is the state in which a call that samples left torch's generator of random numbers. ``noted`` are the real tokens
    that our own processor of logits, and our own stopping criterion, were given in each step, where there are processors.
    ``scores`` ``(rows * returned,)`` are those of the answers that a beam search returned. ``returned`` are scores, hidden states
    and attentions of a call that asks for them. ``cache_kind`` says which cache came back.
    """

    out: Any
    tokens: Tensor
    logits: Tensor
    sequences: Tensor
    streamed: Tensor | None
    random: Tensor | None
    noted: tuple[Told, Told]
    scores: Tensor | None
    returned: dict[str, Any]
    cache_kind: str


RETURNED = (
    *("scores", "attentions", "hidden_states", "decoder_attentions", "decoder_hidden_states", "cross_attentions"),
    *("encoder_attentions", "encoder_hidden_states"),
)
"""What generate may return beside logits and the cache: for each step, and, of an encoder, once."""


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
    watching, streamer = Watching(), Streamer() if case.streamed else None
    handed = cache_handed_in(case, subject.base)
    asked = {
        **handed,
        **(lengths(case, columns_in_front(case, given)) if told is None else told),
        **decoding(case),
        **(watching.arguments() if case.decoding == "processed" else {}),
        **(stopping(case) if case.decoding == "stopped" else {}),
        **({"streamer": streamer} if streamer else {}),
    }
    with torch.no_grad(), subject.in_mode_of(case), _seeded(case) as state:
        text, named = by_position(case, given)
        out = guarded(
            "generate", lambda: subject.generate(*text, **named, **asked), lambda: bool(seen and seen.layer_ran)
        )
        random = state()
    logits = torch.stack([on_cpu("generate", step) for step in out.logits], dim=1)
    sequences, scores = on_cpu("generate", out.sequences), getattr(out, "sequences_scores", None)
    # A search may go on behind the end of what it returns.
    answer = -logits.shape[1] if scores is None else columns_in_front(case, given)
    heard = streamer.told() if streamer else None
    returned = fields(out) if case.decoding == "all_returned" else {}
    kind = cache_kinds.told_kind(caches.returned(out), *handed.values())
    return Generated(
        out, sequences[:, answer:], logits, sequences, heard, random, watching.told, scores, returned, kind
    )


def fields(out: Any) -> dict[str, Any]:
    """What ``out`` holds of scores, hidden states and attentions, by name."""
    found = {name: getattr(out, name, None) for name in RETURNED}
    return {name: value for name, value in found.items() if value is not None}


def forward(subject: Subject, case: Case, given: dict[str, Tensor], seen: Recorder) -> tuple[Tensor, Tensor | None]:
    """Logits ``(rows, columns, vocabulary)`` and loss of the training path, called with ``given`` as ``case`` says."""
    text, named = by_position(case, given)
    if case.call == "labels":
        named = {name: value for name, value in named.items() if name not in MADE_OF_LABELS}
    if case.call in COUNTED and wants_items(subject.base):
        named["num_items_in_batch"] = COUNTED[case.call] * labelled_items(case, given)
    told = {"return_dict": False} if case.call == "tuple" else {}
    out = guarded("forward", lambda: subject.forward(*text, **named, **told), lambda: seen.layer_ran)
    if case.call in COUNTED and out.loss is not None and not wants_items(subject.base):
        return out.logits, out.loss / COUNTED[case.call]
    if case.call != "tuple":
        return out.logits, out.loss
    if not isinstance(out, tuple):
        raise violation("what forward gives with return_dict=False", type(out).__name__, "a tuple")
    return out[1], out[0]


def wants_items(base: Any) -> bool:
    """Whether a trainer tells the ``base`` model how many items there are; if not, it divides by the number of batches itself.

    Source: ``Trainer.__init__`` and ``Trainer.training_step`` of transformers.
    """
    return bool(getattr(base, "accepts_loss_kwargs", True))


def labelled_items(case: Case, given: dict[str, Tensor]) -> Tensor:
    """How many tokens of a batch have a label, as a trainer counts them: a decoder's first one has nothing before it."""
    labels = given["labels"] if case.roles.encoder_layers else given["labels"][:, 1:]
    return (labels != IGNORED).sum()


def by_position(case: Case, given: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """The arguments that are passed without a name, and those with one."""
    named = dict(given)
    return ((named.pop("input_ids"),) if case.call == "position" else ()), named


def columns_in_front(case: Case, given: dict[str, Tensor]) -> int:
    """How many columns are in front of an answer: those of the text, or a decoder's start token."""
    if case.roles.encoder_layers:
        return 1
    return given["input_ids"].shape[1] if "input_ids" in given else 0


def lengths(case: Case, read: int) -> dict[str, Any]:
    """How generate is told when to stop: after so many tokens, or, of several that end an answer, not before the last step."""
    most, least = case.new_tokens, case.new_tokens - 1
    ends = {"eos_token_id": list(range(FIRST_END_TOKEN, VOCABULARY))} if case.ends else {}
    if case.limit == "length":
        return {"max_length": read + most, **ends, **({"min_length": read + least} if ends else {})}
    return {"max_new_tokens": most, **ends, **({"min_new_tokens": least} if ends else {})}


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
    return {**beams, **DECODINGS[case.decoding], **cache_asked(case)}


def stopping(case: Case) -> dict[str, Any]:
    """Which strings end an answer to the text of ``case``, and the tokenizer that knows which tokens these are."""
    return {"stop_strings": stop_strings(token_ids(case)), "tokenizer": fast_tokenizer()}


def cache_asked(case: Case) -> dict[str, Any]:
    """How generate is told which cache it is to make, if it is told."""
    if case.cache == "none":
        return {"use_cache": False}
    return {} if case.cache in ("dynamic", *HANDED_IN) else {"cache_implementation": case.cache}


def cache_handed_in(case: Case, base: Any) -> dict[str, Any]:
    """The empty cache that is handed in, by the argument's name, where ``case`` says so."""
    if case.cache not in HANDED_IN:
        return {}
    in_front = method_named(case.method).in_front(case)
    read = 1 if case.roles.encoder_layers else case.longest
    slots, encoded = in_front + read + case.new_tokens, case.prefix.length + case.longest - in_front
    return {caches.argument(base): cache_kinds.empty_cache(base, case.cache == "given_static", slots, encoded)}


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
