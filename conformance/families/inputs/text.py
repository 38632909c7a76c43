"""Case -> the tensors of the request. What a row holds depends on the row alone, wherever it stands in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from conformance.core.case import FIRST_TEXT_TOKEN, PAD, VOCABULARY, Case, Row
from conformance.families.vocabulary import encode
from conformance.families.weights import counters

if TYPE_CHECKING:
    from conformance.families.family import Family

MASKS = {"long": torch.long, "bool": torch.bool, "float": torch.float32}


def text(case: Case, row: Row) -> Tensor:
    """The row's tokens, shape ``(length,)``, int64; never the pad id."""
    if row.text:
        return torch.tensor(encode(row.text))
    return FIRST_TEXT_TOKEN + counters(case.seed, f"row/{row.seed}", row.length) % (VOCABULARY - FIRST_TEXT_TOKEN)


def prefix_text(case: Case) -> Tensor:
    """The real token sequence P whose keys and values a prefix can hold, shape ``(n,)``."""
    drawn = counters(case.seed, f"prefix/{case.prefix.seed}", case.prefix.length)
    return FIRST_TEXT_TOKEN + drawn % (VOCABULARY - FIRST_TEXT_TOKEN)


def padding_mask(case: Case) -> Tensor:
    """1 for real tokens and 0 for pads, shape ``(rows, longest)``, int64."""
    columns = torch.arange(case.longest)
    lengths = torch.tensor([[row.length] for row in case.rows])
    real = columns >= case.longest - lengths if case.padding == "left" else columns < lengths
    return real.long()


def token_ids(case: Case) -> Tensor:
    """The padded batch, shape ``(rows, longest)``, int64."""
    ids = torch.full((len(case.rows), case.longest), PAD)
    ids[padding_mask(case).bool()] = torch.cat([text(case, row) for row in case.rows])
    return ids


def position_ids(case: Case, mask: Tensor) -> Tensor:
    """0.. over each text of ``mask`` ``(rows, width)``, pads skipped, plus the Case's shift; pads have position 0."""
    return (mask.cumsum(-1) - 1 + case.position_shift).clamp(min=0) * mask


class Inputs:
    """A kind of input: what stands beside the text. This one is text alone; other kinds are files of their own.

    All that a method here is given or gives are arguments of the base model's forward, by name.
    """

    arguments: frozenset[str] = frozenset()
    """The names of all arguments that only this kind has."""

    def beside(self, case: Case, family: Family, width: int) -> dict[str, Tensor]:
        """For the whole batch, whose texts are ``width`` tokens long."""
        return {}

    def for_piece(self, beside: dict[str, Tensor], width: int, blind: int = 0) -> dict[str, Tensor]:
        """For a forward over ``width`` tokens, the first ``blind`` of which are to see the text only."""
        return beside

    def for_next_token(self, beside: dict[str, Tensor], out: Any, accepted: frozenset[str]) -> dict[str, Tensor]:
        """For the forward over one more token, after one that returned ``out``; ``accepted`` are forward's arguments."""
        return beside

    def for_longer_text(self, beside: dict[str, Tensor], width: int) -> dict[str, Tensor]:
        """For a call whose text has grown to ``width`` tokens."""
        return beside


INPUTS = Inputs()


def request(case: Case, family: Family, inputs: Inputs = INPUTS) -> dict[str, Tensor]:
    """What the user passes to forward and to generate, except ``inputs_embeds``, which need the model."""
    given = {"input_ids": token_ids(case), **inputs.beside(case, family, case.longest)}
    if case.mask != "omitted":
        given["attention_mask"] = padding_mask(case).to(MASKS[case.mask])
    if case.given_positions:
        given["position_ids"] = position_ids(case, padding_mask(case))
    return given
