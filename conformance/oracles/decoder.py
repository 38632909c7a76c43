"""How every oracle runs the base model: rows alone, no pads, explicit positions, a cache it filled itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.compat.positions import may_lie_beyond_text
from conformance.core.case import START, Case
from conformance.core.relations import row_alone
from conformance.core.signals import NotApplicable
from conformance.families import Family
from conformance.families.build import parameters_of_forward
from conformance.families.inputs import inputs_of
from conformance.families.inputs.text import TYPES, text, token_types
from conformance.methods.method import Injected

NOTHING_ELSE: Mapping[str, bool] = {}
"""What a model is told to return beside logits, and an encoder beside its output."""


def answers(family: Family, case: Case, tokens: Tensor) -> list[Tensor]:
    """For each row what the decoder reads: the text and all but the last answered token, shape ``(length,)``.

    An encoder-decoder's decoder reads the start token instead of the text.
    """
    start = torch.tensor([START])
    return [
        torch.cat([start if family.encoder_decoder else text(case, row), told[:-1]])
        for row, told in zip(case.rows, tokens, strict=True)
    ]


def run_row(
    base: Any,
    family: Family,
    case: Case,
    index: int,
    ids: Tensor,
    injected: Injected,
    chunks: Sequence[int],
    blind: int = 0,
    encoded_before: Tensor | None = None,
) -> Tensor:
    """Logits ``(length, vocabulary)`` of the base model over ``ids`` ``(length,)`` with ``injected`` in front of them.

    The row is fed in pieces of ``chunks`` tokens: all at once, or one by one. Its first ``blind`` tokens see no image. An encoder
    reads the tokens ``encoded_before`` ``(n,)`` in front of the text.
    """
    alone = surroundings(base, family, case, index, injected.embeddings, encoded_before)
    passes = forwards(base, family, case, ids, injected, chunks, alone, blind)
    return torch.cat([out.logits[0, -width:] for out, width in zip(passes, chunks, strict=True)])


def forwards(
    base: Any,
    family: Family,
    case: Case,
    ids: Tensor,
    injected: Injected,
    chunks: Sequence[int],
    alone: dict[str, Any],
    blind: int = 0,
    told: Mapping[str, bool] = NOTHING_ELSE,
) -> Iterator[Any]:
    """What each forward over a row returns; it stands among ``alone``, and the base model is ``told`` what else to return."""
    past = injected.length if injected.cache else 0
    _refuse(base, case, injected.length + len(ids))
    remembers = bool(injected.cache) or len(chunks) > 1
    cache, front = _cache(base, injected.cache, alone) if remembers else None, injected.embeddings
    types = types_given(case, injected, len(ids))
    typed = iter(() if types is None else types[None].split(list(chunks), dim=1))
    for piece in ids[None].split(list(chunks), dim=1):
        step, width = one_step(base, family, case, piece, past, alone, blind, front)
        if types is not None:
            step[TYPES] = next(typed)
        out = base(**step, **{caches.argument(base): cache}, use_cache=remembers, return_dict=True, **told)
        cache, past, blind, front = caches.returned(out) if remembers else None, past + width, 0, None
        yield out


def types_given(case: Case, injected: Injected, count: int) -> Tensor | None:
    """The types of a row's ``count`` tokens, ``(count,)``, if the Case says that they are given."""
    if case.call != "types":
        return None
    if injected.embeddings is not None:
        raise NotApplicable("nobody says of which type embeddings in front of the text are")
    return token_types(count)


def _refuse(base: Any, case: Case, length: int) -> None:
    """Some base models cannot do what an oracle asks of them: then nobody knows what right would have been."""
    if case.position_shift and not may_lie_beyond_text(base):
        raise NotApplicable("this version's rotary embeddings know no position beyond the text")
    if any(case.roles.sliding) and length > case.roles.window and caches.windows_are_of_fixed_size(base):
        raise NotApplicable("this version's sliding layers want a cache of fixed size, which cannot be filled by hand")


def surroundings(
    base: Any,
    family: Family,
    case: Case,
    index: int,
    front: Tensor | None = None,
    encoded_before: Tensor | None = None,
    told: Mapping[str, bool] = NOTHING_ELSE,
) -> dict[str, Any]:
    """What stands beside the decoder's tokens: the encoder's output, or what the row has beside its text.

    ``front`` are embeddings ``(1, n, hidden)`` that the encoder reads before those of the text, ``encoded_before`` tokens. An
    encoder is ``told`` what else to return.
    """
    if family.encoder_decoder:
        ids = text(case, case.rows[index])[None]
        if encoded_before is not None:
            ids = torch.cat([encoded_before[None], ids], dim=1)
        read = {"input_ids": ids} if front is None else {"inputs_embeds": _behind(front, base, ids)}
        mask = torch.ones(1, ids.shape[1] + (0 if front is None else front.shape[1]), dtype=torch.long)
        return {
            "encoder_outputs": base.get_encoder()(**read, attention_mask=mask, return_dict=True, **told),
            "attention_mask": mask,
        }
    kind = inputs_of(family)
    return dict(kind.beside(row_alone(case, index), family, 1)) if kind.arguments else {}


def one_step(
    base: Any,
    family: Family,
    case: Case,
    piece: Tensor,
    past: int,
    alone: dict[str, Any],
    blind: int = 0,
    front: Tensor | None = None,
) -> tuple[dict[str, Any], int]:
    """The arguments of one forward over ``piece`` ``(1, width)`` after ``past`` positions, and how many it adds.

    ``front`` are embeddings ``(1, n, hidden)`` before those of the piece; an encoder has read them already. Like the tokens of
    P they see no image.
    """
    if family.encoder_decoder:
        return {"decoder_input_ids": piece, **alone}, piece.shape[1]
    n = 0 if front is None else front.shape[1]
    step, width = {"input_ids": piece}, n + piece.shape[1]
    if front is not None:
        step, blind = {"inputs_embeds": _behind(front, base, piece)}, blind + n
    step.update(inputs_of(family).for_piece(alone, piece, width, blind))
    step["attention_mask"] = torch.ones(1, past + width, dtype=torch.long)
    if "position_ids" in parameters_of_forward(base):
        # Whoever says the positions of the text says nothing of the virtual tokens: they begin at 0.
        at = torch.arange(width)
        step["position_ids"] = (past + at + case.position_shift * (at >= n))[None]
    return step, width


def _behind(front: Tensor, base: Any, ids: Tensor) -> Tensor:
    return torch.cat([front, base.get_input_embeddings()(ids)], dim=1)


def _cache(base: Any, filled: caches.KeysValues, alone: dict[str, Any]) -> Any:
    made = caches.filled_cache(base, filled)
    if not base.config.is_encoder_decoder:
        return made
    return caches.completed(base, made, {"decoder_input_ids": torch.full((1, 1), START), **alone})
