"""The request of the training path: text and answer as one padded batch, its labels, and where the answer's logits are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from conformance.core.case import IGNORED, PAD, START, Case
from conformance.families import Family
from conformance.families.inputs import inputs_of, request
from conformance.families.inputs.text import MASKS, TYPES, position_ids, text, token_types
from conformance.methods import method_named


class TrainingBatch(NamedTuple):
    """Arguments of forward, and the answer's indices: ``logits[rows, columns]`` is ``(rows, steps, vocabulary)``.

    Columns count from the end: a method that acts on embeddings has logits of its virtual tokens in front.
    """

    request: dict[str, Any]
    rows: Tensor
    columns: Tensor


def training_batch(case: Case, family: Family, tokens: Tensor, base: Any) -> TrainingBatch:
    """The batch in which every row's text is followed by all but the last of its ``tokens`` ``(rows, steps)``."""
    rows = torch.arange(len(case.rows))[:, None]
    if family.encoder_decoder:
        given, width = embedded_request(case, family, lambda: base), tokens.shape[1]
        # Behind a shorter answer there is nothing to be asked for: its last column stands for that.
        steps = (torch.arange(width) + _pads_in_front(case, width)).clamp(max=width - 1) - width
        return TrainingBatch({**given, **_decoder_batch(case, tokens)}, rows, steps)
    whole = [torch.cat([text(case, row), told[:-1]]) for row, told in zip(case.rows, tokens, strict=True)]
    return TrainingBatch(_batch(case, family, whole, base), rows, _columns(case, whole, tokens.shape[1]))


def embedded_request(case: Case, family: Family, base: Callable[[], Any]) -> dict[str, Tensor]:
    """What the user passes to generate; where the Case says so, embeddings that the ``base`` model makes of the tokens.

    What a decoder reads before it answers is one start token, so its mask is a column of ones.
    """
    given = request(case, family)
    if case.decoder_mask != "omitted":
        given["decoder_attention_mask"] = torch.ones(len(case.rows), 1, dtype=torch.long)
    if case.inputs == "embeds":
        given["inputs_embeds"] = embeds(base(), given.pop("input_ids"))
    return given | _of_method(case)


def _of_method(case: Case) -> dict[str, Tensor]:
    """What the method wants beside the text, but for what is left out wrongly; of the base model nobody wants it."""
    method = method_named(case.method)
    given = method.beside(case) if case.prefix.length else {}
    return {} if case.wrong == "missing_argument" else given


def _beside_labels(case: Case, whole: list[Tensor]) -> dict[str, Tensor]:
    """What the method wants beside the labels of each column, 0 for pads; of the base model nobody wants it."""
    if not case.prefix.length:
        return {}
    says = method_named(case.method).beside_labels
    told = [says(row, len(read)) for row, read in zip(case.rows, whole, strict=True)]
    return {name: _pad(case, [torch.tensor(of[name]) for of in told], 0) for name in told[0]}


def embeds(base: Any, ids: Tensor) -> Tensor:
    """What the base model's word embedding gives for ``ids``, shape ``(rows, width, hidden)``."""
    found: Tensor = base.get_input_embeddings()(ids).detach()
    return found


def _pads_in_front(case: Case, width: int) -> Tensor:
    """How many pads stand in front of what the decoder reads, ``(rows, 1)``."""
    left = case.decoder_mask == "left"
    return torch.tensor([[width - case.answered(row) if left else 0] for row in range(len(case.rows))])


def _decoder_batch(case: Case, tokens: Tensor) -> dict[str, Tensor]:
    """What an encoder-decoder's decoder reads, its labels, and its mask; pads stand beside shorter answers."""
    start = torch.full((len(case.rows), 1), START)
    decoder = torch.cat([start, tokens[:, :-1]], dim=1)
    width = tokens.shape[1]
    at = torch.arange(width)
    if case.decoder_mask == "omitted":
        return {"decoder_input_ids": decoder, "labels": tokens.masked_fill(_unlabelled(case, width - 1 - at), IGNORED)}
    lengths = torch.tensor([[case.answered(row)] for row in range(len(case.rows))])
    real = at < lengths
    # Pads on the right, rolled to where they are to stand.
    order = (at - _pads_in_front(case, width)) % width
    return {
        "decoder_input_ids": decoder.masked_fill(~real, PAD).gather(1, order),
        "decoder_attention_mask": real.long().gather(1, order),
        "labels": tokens.masked_fill(~real | _unlabelled(case, lengths - 1 - at), IGNORED).gather(1, order),
    }


def _columns(case: Case, whole: list[Tensor], steps: int) -> Tensor:
    width = max(map(len, whole))
    offsets = torch.tensor([[width - len(row) if case.padding == "left" else 0] for row in whole])
    first = torch.tensor([[len(row) - steps] for row in whole])
    return offsets + first + torch.arange(steps) - width


def _batch(case: Case, family: Family, whole: list[Tensor], base: Any) -> dict[str, Any]:
    ids, mask = _pad(case, whole, PAD), _pad(case, [torch.ones_like(row) for row in whole], 0)
    labels = _pad(case, [_labels(case, row) for row in whole], IGNORED)
    given: dict[str, Any] = {"input_ids": ids, "labels": labels, **inputs_of(family).beside(case, family, ids.shape[1])}
    if case.inputs == "embeds":
        given["inputs_embeds"] = embeds(base, given.pop("input_ids"))
    if case.mask != "omitted":
        given["attention_mask"] = mask.to(MASKS[case.mask])
    if case.given_positions:
        given["position_ids"] = position_ids(case, mask)
    if case.call == "types":
        given[TYPES] = _pad(case, [token_types(len(row)) for row in whole], 0)
    return given | _of_method(case) | _beside_labels(case, whole)


def _pad(case: Case, rows: list[Tensor], fill: int) -> Tensor:
    from torch.nn.utils.rnn import pad_sequence

    if case.padding == "right":
        return pad_sequence(rows, batch_first=True, padding_value=fill)
    return pad_sequence([row.flip(0) for row in rows], batch_first=True, padding_value=fill).flip(1)


def _labels(case: Case, row: Tensor) -> Tensor:
    at = torch.arange(len(row))
    # The first token has nothing before it that could predict it, except, wrongly, a pad.
    return row.masked_fill((at == 0) | _unlabelled(case, len(row) - 1 - at), IGNORED)


def _unlabelled(case: Case, before_the_end: Tensor) -> Tensor:
    """Whether tokens have no label by the Case's wish, of which so many others stand ``before_the_end`` of their row."""
    return (before_the_end % 2 == 1) & (case.labels == "some")
