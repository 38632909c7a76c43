"""What generate returned of one row beside tokens and logits, by position: as :mod:`conformance.oracles.returned` says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.core.case import Case
from conformance.core.signals import violation
from conformance.families.inputs.text import padding_mask
from conformance.methods import method_named
from conformance.oracles.returned import ATTENTIONS, CROSS, ENCODER_ATTENTIONS, ENCODER_STATES, STATES, Fields
from conformance.runs.trace import Trace

OfLayers = Sequence[Tensor]
"""Of each layer hidden states ``(rows, positions, hidden)``, or attentions ``(rows, heads, positions, columns)``."""


def returned_of(got: Trace, row: int) -> Fields:
    """What was returned of ``row``: for the positions of its text and answer, with a column for each that is no pad.

    Raises a violation for a field that is not there, or is not as long or as wide as virtual tokens, text and answer.
    """
    case, n = got.case, method_named(got.case.method).in_front(got.case)
    encoder = case.roles.encoder_layers > 0
    prefix, text = ("decoder_", torch.ones(1).bool()) if encoder else ("", padding_mask(case)[row].bool())
    width, embedded = len(text), n if method_named(case.method).acts_on == "embeddings" else 0
    later = torch.ones(got.tokens.shape[1] - 1).bool()
    columns = torch.cat([torch.ones(n).bool(), text, later])
    states, weights = [], []
    for step, layers in enumerate(_steps(got, f"{prefix}hidden_states")):
        read = 1 if step else embedded + width
        states.append(_states(layers, row, read)[-width if step == 0 else -1 :])
    for step, layers in enumerate(_steps(got, f"{prefix}attentions")):
        read = 1 if step else embedded + width
        held = _attentions(layers, row, read, n + width + step, case)
        weights.append(pad(held, (0, len(columns) - held.shape[-1]))[-width if step == 0 else -1 :])
    real = columns[n:]
    found = {STATES: torch.cat(states)[real], ATTENTIONS: torch.cat(weights)[real][..., columns]}
    return {**found, **_of_encoder(got, row)} if encoder else found


def _of_encoder(got: Trace, row: int) -> Fields:
    """What an encoder returned of its text, and the decoder of how it looks at that; virtual tokens may be in front."""
    case = got.case
    n = case.prefix.length if method_named(case.method).acts_on == "embeddings" else 0
    text = torch.cat([torch.zeros(n).bool(), padding_mask(case)[row].bool()])
    cross = [_attentions(layers, row, 1, len(text)) for layers in _steps(got, "cross_attentions")]
    held = _attentions(_field(got, "encoder_attentions"), row, len(text), len(text))
    return {
        CROSS: torch.cat(cross)[..., text],
        ENCODER_STATES: _states(_field(got, "encoder_hidden_states"), row, len(text))[text],
        ENCODER_ATTENTIONS: held[text][..., text],
    }


def _field(got: Trace, name: str) -> OfLayers:
    if name not in got.returned:
        raise violation(f"the field {name}", "nothing", "what was asked for")
    found: OfLayers = got.returned[name]
    return found


def _steps(got: Trace, name: str) -> Sequence[OfLayers]:
    """The field ``name``, which has an entry for each step of the answer."""
    found: Sequence[Any] = _field(got, name)
    if len(found) != got.tokens.shape[1]:
        raise violation(f"how many steps the field {name} has", len(found), got.tokens.shape[1])
    return found


def _states(layers: OfLayers, row: int, read: int) -> Tensor:
    """Hidden states ``(read, layers + 1, hidden)`` of one row, of which so many positions were read."""
    for layer in layers:
        if layer.shape[1] != read:
            raise violation("positions that hidden states have", layer.shape[1], read)
    return torch.stack([layer[row].cpu() for layer in layers], dim=1)


def _attentions(layers: OfLayers, row: int, read: int, columns: int, windows: Case | None = None) -> Tensor:
    """Attentions ``(read, layers, heads, columns)`` of one row.

    Of ``windows`` a layer has dropped the first columns, which it does not see.
    """
    found = []
    for index, layer in enumerate(layers):
        positions, kept = layer.shape[-2:]
        fewer = windows is not None and windows.roles.slides(index)
        if positions != read or kept > columns or (kept < columns and not fewer):
            raise violation(
                "positions and columns that attentions have",
                (positions, kept),
                f"({read}, {columns}), virtual tokens in front",
            )
        found.append(pad(layer[row].cpu(), (columns - kept, 0)))
    if not found:
        raise violation("layers whose attentions are returned", "none", "all")
    return torch.stack(found).permute(2, 0, 1, 3)
