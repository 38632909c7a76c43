"""uv, which resolves and installs: found, called, and read. It knows the index; nothing here does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from conformance.core.errors import UserError

SAME = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
}
"""What pip is told by one variable, uv by another."""
ATTEMPTS = 2
PATIENCE = 1800
"""Seconds for one call: a download of all that a pair needs, over a slow line."""
WORDS = 400
"""So much of what uv says is passed on."""


class Unsolvable(Exception):
    """No release fits; uv says why."""


class Unreachable(Exception):
    """uv could not do it, twice: mostly the network."""


def find() -> tuple[str, ...]:
    """The command that runs uv. Raises :class:`~conformance.core.errors.UserError` where there is none."""
    found = shutil.which("uv")
    if found:
        return (found,)
    if find_spec("uv"):
        return (sys.executable, "-m", "uv")
    raise UserError(
        "no-uv",
        "uv is neither on the PATH nor installed here",
        "it resolves the releases and builds their environments",
        "pip install uv",
    )


def run(*arguments: str, given: str = "") -> str:
    """What uv prints when it is given ``given`` as its input.

    Raises :class:`Unsolvable` if no release fits, and after one retry :class:`Unreachable`.
    """
    said = ""
    for _ in range(ATTEMPTS):
        command = [*find(), *arguments, "--quiet", "--no-progress", "--color", "never"]
        try:
            done = subprocess.run(
                command,
                input=given,
                env=environment(os.environ),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"uv {arguments[0]} had not ended after {PATIENCE} s"
            continue
        if done.returncode == 0:
            return done.stdout
        said = words(done.stderr)
        if "No solution found" in done.stderr and "network was disabled" not in done.stderr:
            raise Unsolvable(said)
    raise Unreachable(said)


def environment(outer: Mapping[str, str]) -> dict[str, str]:
    """``outer``, with what pip is told about packages told to uv as well, unless uv has been told something itself."""
    told = {ours: ",".join(outer[pips].split()) for pips, ours in SAME.items() if pips in outer}
    return {**told, **outer}


def words(stderr: str) -> str:
    """What uv complains about, on one line and without addresses."""
    lines = [re.sub(r"^(error|cause|hint):\s*", "", line.strip()) for line in stderr.splitlines()]
    said = re.sub(r"`?[a-z]+://[^\s`)]+`?", "the index", " ".join(filter(None, lines)))
    return said[:WORDS] or "uv failed without a word"
