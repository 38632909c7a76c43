"""With what environment a process of our own is started."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = str(Path(__file__).parents[2])
"""The folder that holds this package."""
CHANNEL, STARTUP, MEMORY = "CONFORMANCE_CHANNEL", "CONFORMANCE_STARTUP", "CONFORMANCE_MEMORY"
"""Variables for a child: the file descriptor of its pipe, a function to call first, and a limit of memory in bytes."""
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH", CHANNEL, STARTUP, MEMORY, "CONFORMANCE_DEVICES")
"""Where byte code is not written, every process would compile torch anew; what one child is told is for it alone."""


def environment(changes: Mapping[str, str], paths: Sequence[str] = ()) -> dict[str, str]:
    """This process's environment with ``changes``: one thread, byte code kept, the same hashes, and this package importable.

    Of devices that have names accelerate takes the first of a set, which depends on the hashes of strings.

    ``paths`` come before everything else on the child's path, and then this package.
    """
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    outer = [path for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path]
    # Installed, this package lies among all others: whatever was put before it on purpose stays before it.
    own = [*paths, PACKAGE, *outer] if paths or PACKAGE not in outer else outer
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(own), **changes}
