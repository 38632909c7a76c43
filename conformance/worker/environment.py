"""With what environment a process of our own is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with ``changes``: one thread, byte code kept, and this package importable."""
    # Where byte code is not written, every child would compile torch and transformers again: 2.5 times the CPU time.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    package = str(Path(__file__).parents[2])
    outer = kept.get("PYTHONPATH", "").split(os.pathsep)
    # Installed, it lies among all other packages: whatever was put before it on purpose stays before it.
    paths = os.pathsep.join(filter(None, outer if package in outer else [package, *outer]))
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **changes}
