"""One image for each text, as LLaVA takes it: the first token of the text stands for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.families import Family
from conformance.families.inputs.text import Inputs, images

PIXELS, IMAGE = "pixel_values", 2


class Llava(Inputs):
    """Features of the image take the place of a token."""

    arguments = frozenset({PIXELS})

    @torch.no_grad()
    def redraw(self, model: Any) -> None:
        """An answer never holds the image's token: it would stand for an image that is not there."""
        model.get_output_embeddings().weight[IMAGE] = 0

    def in_text(self, tokens: Tensor) -> Tensor:
        """The first token is the image's."""
        return torch.cat([torch.tensor([IMAGE]), tokens[1:]])

    def beside(self, case: Case, family: Family, width: int) -> dict[str, Tensor]:
        """One image per row."""
        return {PIXELS: images(case, family)}

    def for_piece(self, beside: dict[str, Tensor], tokens: Tensor, width: int, blind: int = 0) -> dict[str, Tensor]:
        """The image where its token is."""
        return beside if bool((tokens == IMAGE).any()) else {}

    def for_next_token(self, beside: dict[str, Tensor], out: Any, accepted: frozenset[str]) -> dict[str, Tensor]:
        """It has been read."""
        return {}

    def for_longer_text(self, beside: dict[str, Tensor], width: int) -> dict[str, Tensor]:
        """It has been read."""
        return {}


INPUTS = Llava()
