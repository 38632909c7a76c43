"""Python's cyclic collector, told what this project's processes are like.

They import a million objects that never go away, and then remember models and Traces until a family is done. With Python's own
thresholds the collector walks all of that again and again: `import torch, transformers, peft` took 4.0 to 4.3 CPU seconds with
them, and 3.3 with high ones.
"""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 50)
"""How many objects make a young collection, and how many of those an older one."""

_before: list[tuple[int, int, int]] = []


def calm() -> None:
    """Collect seldom from now on. To be called before torch is imported; does nothing the second time."""
    if not _before:
        _before.append(gc.get_threshold())
        gc.set_threshold(*THRESHOLDS)


def restore() -> None:
    """Collect as before :func:`calm`: the process may be somebody else's, who goes on with it."""
    while _before:
        gc.set_threshold(*_before.pop())
