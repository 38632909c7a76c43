"""The manual forward over the base model: with a cache filled by hand, or embeddings put in front by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.families import Family
from conformance.methods.method import Injected
from conformance.oracles.decoder import answers, run_row


def handmade_cache(base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected) -> Tensor:
    """Logits ``(rows, steps, vocabulary)``, teacher-forced with ``tokens`` ``(rows, steps)``: one pass per row."""
    return _predict(base, family, case, tokens, injected, stepwise=False)


def handmade_loop(base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected) -> Tensor:
    """The same, truly incremental: the prompt, then one token at a time."""
    return _predict(base, family, case, tokens, injected, stepwise=True)


def _predict(base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected, stepwise: bool) -> Tensor:
    rows = _rows(base, family, case, tokens, injected, stepwise)
    return torch.stack([logits[-tokens.shape[1] :] for logits in rows])


def _rows(
    base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected, stepwise: bool
) -> Iterator[Tensor]:
    steps = tokens.shape[1]
    for index, ids in enumerate(answers(family, case, tokens)):
        chunks = [len(ids) - steps + 1] + [1] * (steps - 1) if stepwise else [len(ids)]
        yield run_row(base, family, case, index, ids, injected.of(case.rows[index]), chunks)
