"""What the base model returns of a row beside its logits, with the virtual tokens in front: hidden states and attentions.

By position, so that it does not matter in how many forwards the row was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.core.case import Case
from conformance.families import Family
from conformance.methods import method_named
from conformance.methods.method import Injected
from conformance.oracles.decoder import NOTHING_ELSE, answers, forwards, surroundings

Fields = Mapping[str, Tensor]
"""Of one row, by name; see :func:`returned_of_row`."""
STATES, ATTENTIONS = "hidden states", "attentions"
CROSS = "cross attentions"
ENCODER_STATES, ENCODER_ATTENTIONS = "hidden states of the encoder", "attentions of the encoder"
ASKED = {"output_attentions": True, "output_hidden_states": True}


@torch.no_grad()
def returned_of_row(
    base: Any, family: Family, case: Case, index: int, tokens: Tensor, injected: Injected, stepwise: bool = False
) -> Fields:
    """What the base model returns of row ``index``, teacher-forced with ``tokens`` ``(rows, steps)``.

    Hidden states are ``(positions, layers + 1, hidden)``, one position for each token that the decoder reads, attentions
    ``(positions, layers, heads, n + positions)``, where n virtual tokens are in front of it. Of an encoder-decoder cross
    attentions are ``(positions, layers, heads, text)``, and those of the encoder are of its text alone.
    """
    ids, injected = answers(family, case, tokens)[index], injected.of(case.rows[index])
    steps, told = tokens.shape[1], ASKED if family.encoder_decoder else NOTHING_ELSE
    alone = surroundings(base, family, case, index, injected.embeddings, told=told)
    chunks = [len(ids) - steps + 1] + [1] * (steps - 1) if stepwise else [len(ids)]
    seen = list(forwards(base, family, case, ids, injected, chunks, alone, told=ASKED))
    columns, text = method_named(case.method).in_front(case) + len(ids), case.rows[index].length
    if not family.encoder_decoder:
        return _by_position(seen, chunks, columns, "hidden_states", "attentions")
    of_encoder = alone["encoder_outputs"]
    return {
        **_by_position(seen, chunks, columns, "decoder_hidden_states", "decoder_attentions"),
        CROSS: torch.cat([_stacked(out.cross_attentions) for out in seen])[..., -text:],
        ENCODER_STATES: _states(of_encoder.hidden_states)[-text:],
        ENCODER_ATTENTIONS: _stacked(of_encoder.attentions)[-text:, ..., -text:],
    }


def _by_position(seen: Sequence[Any], chunks: Sequence[int], columns: int, states: str, attentions: str) -> Fields:
    """Of each forward the last positions, which are those that are not virtual tokens."""
    hidden, weights, end = [], [], columns - sum(chunks)
    for out, width in zip(seen, chunks, strict=True):
        end += width
        hidden.append(_states(out[states])[-width:])
        weights.append(_stacked([_whole(layer, end, columns) for layer in out[attentions]])[-width:])
    return {STATES: torch.cat(hidden), ATTENTIONS: torch.cat(weights)}


def _states(layers: Sequence[Tensor]) -> Tensor:
    """Hidden states ``(1, positions, hidden)`` of each layer as ``(positions, layers + 1, hidden)``."""
    return torch.cat(list(layers)).transpose(0, 1)


def _stacked(layers: Sequence[Tensor]) -> Tensor:
    """Attentions ``(1, heads, positions, columns)`` of each layer as ``(positions, layers, heads, columns)``."""
    return torch.cat(list(layers)).permute(2, 0, 1, 3)


def _whole(weights: Tensor, end: int, columns: int) -> Tensor:
    """Attentions ``(1, heads, positions, kept)`` with all ``columns``, of which those up to ``end`` have been read.

    A layer with a window has dropped the first ones, which it does not see.
    """
    return pad(weights, (end - weights.shape[-1], columns - end))
