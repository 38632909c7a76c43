"""How far positions may lie from the text."""

from __future__ import annotations

import inspect
from typing import Any


def may_lie_beyond_text(model: Any) -> bool:
    """Whether a position may be larger than the number of tokens so far.

    Rotary embeddings of older releases were given that number, and no positions: their tables ended there.
    """
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            taken = inspect.signature(module.forward).parameters
            if "seq_len" in taken and "position_ids" not in taken:
                return False
    return True
