"""Case -> the tensors of the request. A row's tokens and image depend on the row alone, wherever it stands in a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.core.case import FIRST_TEXT_TOKEN, PAD, VOCABULARY, Case, Row
from conformance.families import Family
from conformance.families.vocabulary import encode
from conformance.families.weights import counters, normal

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


def pixels(case: Case, kind: Family) -> dict[str, Tensor]:
    """The images, one per row, and which text tokens see them (all)."""
    if kind.pixels is None:
        return {}
    shape = (1, kind.pixels.channels, kind.pixels.size, kind.pixels.size)
    images = [normal(case.seed, f"image/{row.seed}", shape) for row in case.rows]
    return {
        "pixel_values": torch.stack(images).to(getattr(torch, case.dtype)),
        "image_attention_mask": torch.ones(len(case.rows), case.longest, 1, dtype=torch.long),
    }


def request(case: Case, kind: Family) -> dict[str, Tensor]:
    """What the user passes to forward and to generate, except ``inputs_embeds``, which need the model."""
    given = {"input_ids": token_ids(case), **pixels(case, kind)}
    if case.mask != "omitted":
        given["attention_mask"] = padding_mask(case).to(MASKS[case.mask])
    if case.given_positions:
        given["position_ids"] = position_ids(case, padding_mask(case))
    return given
