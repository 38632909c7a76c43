"""One image for each text, as Idefics takes it: pixels, and a mask that says which tokens see them (all)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from conformance.core.case import Case
from conformance.families.inputs.text import Inputs, images

if TYPE_CHECKING:
    from conformance.families import Family

PIXELS, SEES, ENCODED = "pixel_values", "image_attention_mask", "image_encoder_embeddings"
"""The arguments of forward; the last is how it is given images that it has encoded before."""


class Idefics(Inputs):
    """Images beside the text, through gated cross-attention."""

    arguments = frozenset({PIXELS, SEES, ENCODED})

    def beside(self, case: Case, family: Family, width: int) -> dict[str, Tensor]:
        """One image per row, seen by all of its ``width`` tokens."""
        sees = torch.ones(len(case.rows), width, 1, dtype=torch.long)
        return {PIXELS: images(case, family).unsqueeze(1), SEES: sees}

    def for_piece(self, beside: dict[str, Tensor], tokens: Tensor, width: int, blind: int = 0) -> dict[str, Tensor]:
        """The first ``blind`` tokens see no image."""
        return {**beside, SEES: (torch.arange(width) >= blind).long()[None, :, None]}

    def for_next_token(self, beside: dict[str, Tensor], out: Any, accepted: frozenset[str]) -> dict[str, Tensor]:
        """What the base model has made of the pixels, if it takes that, in place of the pixels."""
        later = {**beside, SEES: beside[SEES][:, -1:]}
        encoded = _encoded(out)
        if encoded is not None and ENCODED in accepted:
            later.pop(PIXELS, None)
            later[ENCODED] = encoded
        return later

    def for_the_last(self, beside: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """What the last tokens see."""
        return {**beside, SEES: beside[SEES][:, -count:]}

    def with_virtual_tokens(self, beside: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """Zeros on the left."""
        return {**beside, SEES: pad(beside[SEES], (0, 0, count, 0))}

    def for_longer_text(self, beside: dict[str, Tensor], width: int) -> dict[str, Tensor]:
        """What was added sees what the last token saw."""
        sees = beside[SEES]
        return {**beside, SEES: torch.cat([sees, sees[:, -1:].expand(-1, width - sees.shape[1], -1)], dim=1)}


def _encoded(out: Any) -> Any:
    """The images as the base model has encoded them. Since 5.24 ``image_hidden_states`` is another thing: pooled ones."""
    outputs = getattr(out, "image_outputs", None)
    return getattr(out, "image_hidden_states", None) if outputs is None else outputs.last_hidden_state


INPUTS = Idefics()
