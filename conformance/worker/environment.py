"""With what environment a process of our own is started, and that it sees what this one sees."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

PACKAGE = str(Path(__file__).parents[2])
"""The folder that holds this package."""
CHANNEL, STARTUP, MEMORY = "CONFORMANCE_CHANNEL", "CONFORMANCE_STARTUP", "CONFORMANCE_MEMORY"
"""Variables for a child: the file descriptor of its pipe, a function to call first, and a limit of memory in bytes."""
BEHIND, FILES, STACK = "CONFORMANCE_BEHIND", "CONFORMANCE_FILES", "CONFORMANCE_STACK"
"""Variables for a child: what comes last on its path, from which files the packages that decide a result must come, and the
file into which it writes its stack when it is asked."""
DECISIVE = ("peft", "transformers", "accelerate", "torch")
"""Packages that a child must take from the very files from which this process takes them."""
DROPPED = (
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONSAFEPATH",
    CHANNEL,
    STARTUP,
    MEMORY,
    BEHIND,
    FILES,
    STACK,
    "CONFORMANCE_DEVICES",
)
"""Where byte code is not written, every process would compile torch anew; what one child is told is for it alone."""

PATHS = ("CONFORMANCE_EXAMPLES", "HYPOTHESIS_STORAGE_DIRECTORY")
"""Variables with a path, which may be relative: a child works in another folder."""


def environment(changes: Mapping[str, str], paths: Sequence[str] = ()) -> dict[str, str]:
    """This process's environment with ``changes``: one thread, byte code kept, the same hashes, and this package importable.

    Of devices that have names accelerate takes the first of a set, which depends on the hashes of strings.

    ``paths`` come before everything else on the child's path, and then this package.
    """
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    kept.update((name, os.path.abspath(kept[name])) for name in PATHS if kept.get(name))
    outer = [os.path.abspath(path) for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path]
    # Installed, this package lies among all others: whatever was put before it on purpose stays before it.
    own = [*paths, PACKAGE, *outer] if paths else [*outer, *[PACKAGE] * (PACKAGE not in outer)]
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(own), **changes}


def view() -> dict[str, str]:
    """Variables that make a child see the packages that this process sees.

    What was put on the path of this process as it ran (a script's folder, the working directory, folders of tests) comes
    last: a class of the user's own is found there, but no ``random.py`` in it takes the place of Python's.
    """
    files = {name: file for name in DECISIVE if (file := file_of(name))}
    behind = dict.fromkeys(os.path.abspath(path) for path in sys.path)
    return {BEHIND: os.pathsep.join(behind), FILES: os.pathsep.join(f"{name}={file}" for name, file in files.items())}


def file_of(name: str) -> str:
    """The file from which the package ``name`` is imported here, or would be; empty where there is none."""
    if module := sys.modules.get(name):
        return os.path.realpath(getattr(module, "__file__", None) or "")
    with suppress(ImportError, ValueError):
        spec = find_spec(name)
        return os.path.realpath(spec.origin) if spec and spec.origin else ""
    return ""


def follow_view() -> None:
    """The child's side of :func:`view`."""
    sys.path.extend(path for path in os.environ.get(BEHIND, "").split(os.pathsep) if path and path not in sys.path)


def contradiction() -> str:
    """Where this process, a child, takes a package from another file than its parent, in words; else nothing."""
    for name, _, file in (each.partition("=") for each in os.environ.get(FILES, "").split(os.pathsep) if each):
        if (here := file_of(name)) != file:
            return f"the process that judges takes {name} from {here or 'nowhere'}, the one that reports from {file}"
    return ""
