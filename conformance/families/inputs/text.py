"""Case -> the tensors of the request. What a row holds depends on the row alone, wherever it stands in a batch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from conformance.core.case import FIRST_TEXT_TOKEN, PAD, VOCABULARY, Case, Row
from conformance.families import family_named
from conformance.families.inputs import inputs_of
from conformance.families.vocabulary import encode_text
from conformance.families.weights import counters, normal_numbers

if TYPE_CHECKING:
    from conformance.families import Family

MASKS = {"long": torch.long, "bool": torch.bool, "float": torch.float32}


def text(case: Case, row: Row) -> Tensor:
    """The row's tokens, shape ``(length,)``, int64; never the pad id."""
    if row.text:
        return torch.tensor(encode_text(row.text))
    return inputs_of(family_named(case.family)).in_text(FIRST_TEXT_TOKEN + _letters(case.seed, row.seed, row.length))


@lru_cache(maxsize=4096)
def _letters(seed: int, row: int, length: int) -> Tensor:
    """Remembered, since the same text is read in many ways: never change it."""
    return counters(seed, f"row/{row}", length) % (VOCABULARY - FIRST_TEXT_TOKEN)


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


TYPES = "token_type_ids"
"""The argument that says of which type each token is, for models that tell segments of a text apart."""


def token_types(count: int) -> Tensor:
    """The types of a row's first ``count`` tokens, ``(count,)``: 1 and 0 in turn; type 0 alone may be the same as none."""
    return (torch.arange(count) + 1) % 2


def images(case: Case, family: Family) -> Tensor:
    """One image for each row, ``(rows, channels, size, size)``, in the Case's dtype. Like a text it depends on its row alone."""
    pixels = family.pixels
    assert pixels is not None, "a kind of input other than text has [pixels]: read_family sees to it"
    shape = (pixels.channels, pixels.size, pixels.size)
    drawn = [normal_numbers(case.seed, f"image/{row.seed}", shape) for row in case.rows]
    return torch.stack(drawn).to(getattr(torch, case.dtype))


class Inputs:
    """A kind of input: what stands beside the text. This one is text alone; other kinds are files of their own.

    What stands ``beside`` it are arguments of the base model's forward, by name.
    """

    arguments: frozenset[str] = frozenset()
    """The names of all arguments that only this kind has."""

    def redraw(self, model: Any) -> None:
        """Change what was drawn of the base ``model``, in place, where this kind of input cannot do with just any weights."""

    def in_text(self, tokens: Tensor) -> Tensor:
        """The ``tokens`` of a row, ``(length,)``, as this kind of model reads them: some may stand for an image."""
        return tokens

    def beside(self, case: Case, family: Family, width: int) -> dict[str, Tensor]:
        """For the whole batch, whose texts are ``width`` tokens long."""
        return {}

    def for_piece(self, beside: dict[str, Tensor], tokens: Tensor, width: int, blind: int = 0) -> dict[str, Tensor]:
        """For a forward over ``width`` positions, the last of them ``tokens``; the first ``blind`` are to see the text only."""
        return beside

    def for_next_token(self, beside: dict[str, Tensor], out: Any, accepted: frozenset[str]) -> dict[str, Tensor]:
        """For the forward over one more token, after one that returned ``out``; ``accepted`` are forward's arguments."""
        return beside

    def for_the_last(self, beside: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """For a forward over the last ``count`` tokens, the others being in the cache."""
        return beside

    def with_virtual_tokens(self, beside: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """For a text with ``count`` columns more on the left: virtual tokens, which see no image."""
        return beside

    def for_longer_text(self, beside: dict[str, Tensor], width: int) -> dict[str, Tensor]:
        """For a call whose text has grown to ``width`` tokens."""
        return beside


INPUTS = Inputs()
