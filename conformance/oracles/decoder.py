"""How every oracle runs the base model: rows alone, no pads, explicit positions, a cache it filled itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.compat.positions import may_lie_beyond_text
from conformance.core.case import START, Case
from conformance.core.signals import NotApplicable
from conformance.families import Family
from conformance.families.build import parameters_of_forward
from conformance.families.inputs import pixels, text


def answers(case: Case, tokens: Tensor) -> list[Tensor]:
    """For each row what the decoder reads: the text and all but the last answered token, shape ``(length,)``.

    An encoder-decoder's decoder reads the start token instead of the text.
    """
    from conformance.families import family

    start = torch.tensor([START])
    encoder = family(case.family).encoder_decoder
    return [
        torch.cat([start if encoder else text(case, row), told[:-1]])
        for row, told in zip(case.rows, tokens, strict=True)
    ]


@torch.no_grad()
def run_row(
    base: Any,
    kind: Family,
    case: Case,
    index: int,
    ids: Tensor,
    filled: caches.KeysValues,
    chunks: Sequence[int],
    blind: int = 0,
) -> Tensor:
    """Logits ``(length, vocabulary)`` of the base model over ``ids`` after a prefix whose keys and values are ``filled``.

    The row is fed in pieces of ``chunks`` tokens: all at once, or one by one. Its first ``blind`` tokens see no image.
    """
    past = filled[0][0].shape[-2] if filled else 0
    _refuse(base, case, past + len(ids))
    alone = surroundings(base, kind, case, index)
    remembers = bool(filled) or len(chunks) > 1
    cache, logits = _cache(base, filled, alone) if remembers else None, []
    for piece in ids[None].split(list(chunks), dim=1):
        out = base(
            **one_step(base, case, piece, past, alone, blind),
            **{caches.argument(base): cache},
            use_cache=remembers,
            return_dict=True,
        )
        cache, past, blind = caches.returned(out) if remembers else None, past + piece.shape[1], 0
        logits.append(out.logits[0])
    return torch.cat(logits)


def _refuse(base: Any, case: Case, length: int) -> None:
    """Some base models cannot do what an oracle asks of them: then nobody knows what right would have been."""
    if case.position_shift and not may_lie_beyond_text(base):
        raise NotApplicable("this version's rotary embeddings know no position beyond the text")
    if any(case.roles.sliding) and length > case.roles.window and caches.windows_are_of_fixed_size(base):
        raise NotApplicable("this version's sliding layers want a cache of fixed size, which cannot be filled by hand")


def surroundings(base: Any, kind: Family, case: Case, index: int) -> dict[str, Any]:
    """What stands beside the decoder's tokens: the encoder's output, or the row's image."""
    from msgspec.structs import replace

    alone = replace(case, rows=(case.rows[index],))
    if kind.encoder_decoder:
        ids = text(case, case.rows[index])[None]
        mask = torch.ones_like(ids)
        return {
            "encoder_outputs": base.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True),
            "attention_mask": mask,
        }
    return pixels(alone, kind)


def one_step(base: Any, case: Case, piece: Tensor, past: int, alone: dict[str, Any], blind: int) -> dict[str, Any]:
    """The arguments of one forward over ``piece`` ``(1, width)`` after ``past`` positions."""
    width = piece.shape[1]
    if base.config.is_encoder_decoder:
        return {"decoder_input_ids": piece, **alone}
    step: dict[str, Any] = {
        "input_ids": piece,
        "attention_mask": torch.ones(1, past + width, dtype=torch.long),
        **alone,
    }
    if "position_ids" in parameters_of_forward(base):
        step["position_ids"] = torch.arange(past, past + width)[None] + case.position_shift
    if "image_attention_mask" in alone:
        step["image_attention_mask"] = (torch.arange(width) >= blind).long()[None, :, None]
    return step


def _cache(base: Any, filled: caches.KeysValues, alone: dict[str, Any]) -> Any:
    made = caches.make(base, filled)
    if not base.config.is_encoder_decoder:
        return made
    return caches.completed(base, made, {"decoder_input_ids": torch.full((1, 1), START), **alone})
