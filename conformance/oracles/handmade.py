"""The manual forward over the base model with a cache filled by hand from the raw adapter parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from conformance.compat.caches import KeysValues
from conformance.core.case import Case
from conformance.methods import prefix_tuning as prefix
from conformance.oracles.decoder import answers, run_row

if TYPE_CHECKING:
    from conformance.runs.lab import Lab


def handmade_cache(lab: Lab, case: Case, tokens: Tensor, filled: KeysValues) -> Tensor:
    """Logits ``(rows, steps, vocabulary)``, teacher-forced with ``tokens`` ``(rows, steps)``: one pass per row."""
    return _predict(lab, case, tokens, filled, stepwise=False)


def handmade_loop(lab: Lab, case: Case, tokens: Tensor, filled: KeysValues) -> Tensor:
    """The same, truly incremental: the prompt, then one token at a time."""
    return _predict(lab, case, tokens, filled, stepwise=True)


def _predict(lab: Lab, case: Case, tokens: Tensor, filled: KeysValues, stepwise: bool) -> Tensor:
    base, steps = lab.base(case), tokens.shape[1]
    logits = []
    for index, ids in enumerate(answers(case, tokens)):
        chunks = [len(ids) - steps + 1] + [1] * (steps - 1) if stepwise else [len(ids)]
        logits.append(run_row(base, lab.kind(case), case, index, ids, filled, chunks)[-steps:])
    return torch.stack(logits)


def hand_filled(case: Case, raw: dict[str, Tensor], layout: prefix.Layout) -> list[tuple[Tensor, Tensor]]:
    """Per layer keys and values from raw parameters, by this project's own arithmetic."""
    return prefix.keys_values(prefix.project(raw), case, layout)
