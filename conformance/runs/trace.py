"""A Trace: what one run was seen to do. All of it is data, but for ``error``, which is computed only if somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import Tensor

from conformance.compat import caches
from conformance.core.case import Case


@dataclass(frozen=True)
class Forward:
    """One forward of the base model as generate or training called it.

    ``query_length`` is the number of input positions, ``cache`` each layer's cache before the forward (copied for the first
    forward of a call, lengths only later), ``positions`` what the position embedding was asked for, ``(rows, queries)``.
    ``transfers`` is the number of tensors that went from one device to another between this forward's start and the next's.
    """

    query_length: int
    cache: tuple[caches.LayerCache, ...]
    mask: tuple[int, ...] | None
    positions: Tensor | None = None
    transfers: int = 0


class Learnt(NamedTuple):
    """What a trainer told and left: the loss of each step, and the adapter's raw parameters afterwards, on the CPU."""

    losses: list[float]
    raw: dict[str, Tensor]


@dataclass(frozen=True)
class Trace:
    """Tokens ``(rows, steps)``, logits ``(rows, steps, vocabulary)``, and every forward that made them.

    * ``error``: how far right computations of this Case may be apart, in logits (``None``: over the cap), when asked for;
    * ``final``: the returned cache, ``cache_kind``: what it is, in words; ``loss``: the training loss where labels were given;
    * ``loss_to_learn``: the same with its graph, where gradients were asked for;
    * ``sequences``: text and answer ``(rows, columns)`` as generate returned them; ``streamed``: as a streamer was told, if any;
    * ``modified_inputs``: the arguments whose tensors the call has changed;
    * ``random``: the state in which a call that samples left torch's generator of random numbers;
    * ``told_to_processor``, ``told_to_criterion``: the tokens ``(rows, length)`` that ours were given in each step;
    * ``scores``: those of the answers ``(rows * returned, ...)`` that a beam search returned;
    * ``returned``: what else a call that asks for all returned, by the field's name, of which those of the decoder have an entry
      for each step;
    * ``embeddings``: what was read first in place of tokens, ``(rows, columns, hidden)``, by an encoder where there is one;
    * ``layer_devices``: where each decoder layer of a placed model computes.

    With several beams logits are those of every beam, ``(rows * beams, steps, vocabulary)``. All tensors are on the CPU.
    """

    case: Case
    tokens: Tensor
    logits: Tensor
    error: Callable[[], float | None]
    forwards: tuple[Forward, ...] = ()
    final: tuple[caches.LayerCache, ...] = ()
    loss: float | None = None
    loss_to_learn: Tensor | None = None
    sequences: Tensor | None = None
    streamed: Tensor | None = None
    modified_inputs: tuple[str, ...] = ()
    layer_devices: tuple[str, ...] = ()
    random: Tensor | None = None
    scores: Tensor | None = None
    embeddings: Tensor | None = None
    told_to_processor: tuple[Tensor, ...] = ()
    told_to_criterion: tuple[Tensor, ...] = ()
    cache_kind: str = ""
    returned: Mapping[str, Any] = field(default_factory=dict)

    def row(self, index: int) -> Trace:
        """One row of it, as a batch of one."""
        return replace(self, tokens=self.tokens[index : index + 1], logits=self.logits[index : index + 1])

    def same_bits(self, other: object) -> bool:
        """Whether ``other`` has the same tokens and, to the bit, the same logits; a NaN is one like another."""
        if not isinstance(other, Trace) or self.logits.shape != other.logits.shape:
            return False
        return self.tokens.equal(other.tokens) and bool(self.logits.isclose(other.logits, 0, 0, equal_nan=True).all())

    def steps(self, count: int) -> Trace:
        """Its first ``count`` steps."""
        return replace(self, tokens=self.tokens[:, :count], logits=self.logits[:, :count])
