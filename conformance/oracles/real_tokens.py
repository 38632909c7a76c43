"""The base model over real tokens: a prefix that holds the keys and values of P must answer like P in front of the text.

So must a prompt that holds the embeddings of P. Uses no line of prefix code: neither PEFT's nor ours, neither a cache nor a
projection.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.core.case import Case
from conformance.families import Family
from conformance.families.inputs.text import prefix_text
from conformance.methods import method_named
from conformance.methods.method import NOTHING, Injected
from conformance.oracles.decoder import answers, one_step, run_row, surroundings


def real_tokens(base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected) -> Tensor:
    """Logits ``(rows, steps, vocabulary)`` of the base model over P, text and ``tokens``, recomputed in one pass each.

    ``injected`` is not used: that is the point.
    """
    steps, before = tokens.shape[1], prefix_text(case)
    logits = []
    for index, ids in enumerate(answers(family, case, tokens)):
        if method_named(case.method).in_front(case):
            whole = torch.cat([before, ids])
            seen = run_row(base, family, case, index, whole, NOTHING, [len(whole)], blind=len(before))
        else:
            seen = run_row(base, family, case, index, ids, NOTHING, [len(ids)], encoded_before=before)
        logits.append(seen[-steps:])
    return torch.stack(logits)


@torch.no_grad()
def injected_of_text(base: Any, family: Family, case: Case) -> Injected:
    """What P itself is in front of the text, for the Case's method: keys and values of every layer, or embeddings.

    P sees no image.
    """
    before = prefix_text(case)
    if method_named(case.method).acts_on == "embeddings":
        return Injected(embeddings=base.get_input_embeddings()(before[None]))
    alone = surroundings(base, family, case, 0)
    step, _ = one_step(base, family, case, before[None], 0, alone, blind=len(before))
    out = base(**step, use_cache=True, return_dict=True)
    held = caches.read_cache(caches.returned(out), case.roles.layers, case.roles.kv_heads)
    return Injected(caches.cut(held, 0, len(before)))
