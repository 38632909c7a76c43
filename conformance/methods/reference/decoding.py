"""How the reference wrapper goes on from logits: the best token, or a sampled one, of what processors leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import PAD
from conformance.methods.reference.returned import Returned

Processor = Callable[[Any, Any], Any]


@dataclass
class Decoding:
    """One call of generate: what was asked, by its arguments' names, and how far the answer has come.

    Nothing is looked up in the text, and no assistant is asked: that would be for speed alone, and change no answer.

    ``ids`` ``(rows, length)`` are the real tokens of text and answer, of which ``begun`` were there first; ``ended`` says which
    rows are answered.
    """

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_repetition_penalty: float = 1.0
    min_new_tokens: int = 0
    eos_token_id: Sequence[int] = ()
    forced_eos_token_id: int | None = None
    suppress_tokens: Sequence[int] = ()
    begin_suppress_tokens: Sequence[int] = ()
    logits_processor: Sequence[Processor] = ()
    stopping_criteria: Sequence[Processor] = ()
    stop_strings: Sequence[str] = ()
    tokenizer: Any = None
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    output_scores: bool = False
    output_attentions: bool = False
    output_hidden_states: bool = False
    prompt_lookup_num_tokens: int = 0
    assistant_model: Any = None
    prefill_chunk_size: int = 0
    streamer: Any = None
    processors: list[Processor] = field(init=False)
    criteria: list[Processor] = field(init=False)
    ids: Tensor = field(init=False)
    begun: int = field(init=False)
    ended: Tensor = field(init=False)
    returned: Returned = field(init=False)

    def __post_init__(self) -> None:
        """Nothing has been returned yet."""
        asked = {name: getattr(self, name) for name in ("output_attentions", "output_hidden_states")}
        self.returned = Returned(asked)

    def begin(self, ids: Tensor, read: Tensor, steps: int) -> None:
        """Begin an answer of ``steps`` tokens behind the real tokens ``ids``; ``read`` is the text, for an encoder or not."""
        self.begun = ids.shape[1]
        self.ids, self.ended = ids, torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        self.processors = [*self._own(read, ids.shape[1], steps), *self.logits_processor]
        self.criteria = [*self.stopping_criteria, *self._own_criteria()]
        self._tell(ids)

    def _own(self, read: Any, begin: int, steps: int) -> list[Processor]:
        g: Any = import_module("transformers.generation.logits_process")
        ends, rewarded = list(self.eos_token_id), self.encoder_repetition_penalty
        made: list[tuple[object, Callable[[], Any]]] = [
            (rewarded != 1, lambda: g.EncoderRepetitionPenaltyLogitsProcessor(rewarded, read)),
            (self.repetition_penalty != 1, lambda: g.RepetitionPenaltyLogitsProcessor(self.repetition_penalty)),
            (self.no_repeat_ngram_size, lambda: g.NoRepeatNGramLogitsProcessor(self.no_repeat_ngram_size)),
            (self.min_new_tokens, lambda: g.MinNewTokensLengthLogitsProcessor(begin, self.min_new_tokens, ends)),
            (
                self.forced_eos_token_id is not None,
                lambda: g.ForcedEOSTokenLogitsProcessor(begin + steps, self.forced_eos_token_id),
            ),
            (self.suppress_tokens, lambda: g.SuppressTokensLogitsProcessor(self.suppress_tokens)),
            (
                self.begin_suppress_tokens,
                lambda: g.SuppressTokensAtBeginLogitsProcessor(self.begin_suppress_tokens, begin),
            ),
        ]
        return [make() for wanted, make in made if wanted]

    def _own_criteria(self) -> list[Processor]:
        made: Any = import_module("transformers.generation.stopping_criteria")
        return [made.StopStringCriteria(self.tokenizer, self.stop_strings)] if self.stop_strings else []

    def next_token(self, logits: Tensor) -> Tensor:
        """The token that each row of ``logits`` ``(rows, vocabulary)`` goes on with, ``(rows, 1)``."""
        scores = logits
        for process in self.processors:
            scores = process(self.ids, scores)
        self.returned.scores.append(scores)
        if not self.do_sample:
            return scores.argmax(-1, keepdim=True)
        return torch.multinomial(self.likely(scores / self.temperature).softmax(-1), 1)

    def likely(self, scores: Tensor) -> Tensor:
        """The ``scores`` of the k best tokens, of which those that have p together; minus infinity for all others."""
        if self.top_k:
            scores = scores.masked_fill(scores < scores.topk(self.top_k).values[:, -1:], -torch.inf)
        if self.top_p < 1:
            rising, order = scores.sort()
            least = rising.softmax(-1).cumsum(-1) <= 1 - self.top_p
            least[:, -1:] = False
            scores = scores.masked_fill(least.scatter(1, order, least), -torch.inf)
        return scores

    def accepted(self, token: Tensor) -> Tensor:
        """The ``token`` ``(rows, 1)`` that is answered, which is a pad for rows that have ended."""
        # Of a placed model it comes from where its head is.
        token = token.to(self.ids.device).masked_fill(self.ended[:, None], PAD)
        self.ids = torch.cat([self.ids, token], dim=1)
        self._tell(token[:, 0])
        ends = torch.tensor(list(self.eos_token_id), dtype=torch.long, device=token.device)
        self.ended = self.ended | torch.isin(token[:, 0], ends)
        for stops in self.criteria:
            self.ended = self.ended | stops(self.ids, None)
        return token

    def _tell(self, tokens: Tensor) -> None:
        if self.streamer is not None:
            self.streamer.put(tokens.cpu())

    @property
    def over(self) -> bool:
        """Whether every row is answered."""
        return bool(self.ended.all())

    def finished(self) -> Tensor:
        """Text and answer, ``(rows, columns)``, when nothing more comes."""
        if self.streamer is not None:
            self.streamer.end()
        return self.ids


class Forced(Decoding):
    """The answer is known: ``answers`` ``(rows, length)``, behind which the best token follows."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def next_token(self, logits: Tensor) -> Tensor:
        """The known one."""
        step = self.ids.shape[1] - self.begun
        known = self.answers[:, step : step + 1].to(logits.device)
        return known if known.shape[1] else super().next_token(logits)


def asked_of(request: Mapping[str, Any]) -> tuple[Decoding, dict[str, Any]]:
    """What ``request`` says of decoding, and the rest: what is read."""
    known = {found.name for found in dataclasses.fields(Decoding) if found.init}
    asked = {name: value for name, value in request.items() if name in known}
    return Decoding(**asked), {name: value for name, value in request.items() if name not in known}
