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

VARIABLES = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
}
"""Pip's variable, and uv's for the same."""
ATTEMPTS = 2
SECONDS_PER_CALL = 1800
"""Seconds for one call: a download of all that a pair needs, over a slow line."""
LONGEST_COMPLAINT = 400
"""So many characters of what uv complains about are passed on."""


class Unsolvable(Exception):
    """No release fits; uv says why."""


class Unreachable(Exception):
    """Nothing can be said about an environment: uv could not make it, twice, or what tried it gave no answer."""


def uv_command() -> tuple[str, ...]:
    """The command that runs uv. Raises :class:`~conformance.core.errors.UserError` where there is none."""
    if path := shutil.which("uv"):
        return (path,)
    if find_spec("uv"):
        return (sys.executable, "-m", "uv")
    raise UserError(
        "no-uv",
        "uv is neither on the PATH nor installed here",
        "it resolves the releases and builds their environments",
        "pip install uv",
    )


def run_uv(*arguments: str, stdin: str = "") -> str:
    """What uv prints when it reads ``stdin``.

    Raises :class:`Unsolvable` if no release fits, and after one retry :class:`Unreachable`.
    """
    complaint = ""
    for _ in range(ATTEMPTS):
        command = [*uv_command(), *arguments, "--quiet", "--no-progress", "--color", "never"]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                env=uv_environment(os.environ),
                capture_output=True,
                text=True,
                timeout=SECONDS_PER_CALL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            complaint = f"uv {arguments[0]} had not ended after {SECONDS_PER_CALL} s"
            continue
        if done.returncode == 0:
            return done.stdout
        complaint = _complaint(done.stderr)
        if "No solution found" in done.stderr and "network was disabled" not in done.stderr:
            raise Unsolvable(complaint)
    raise Unreachable(complaint)


def uv_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """``outer``, with pip's variables for packages as uv has them, unless uv's own are set."""
    translated = {uvs: ",".join(outer[pips].split()) for pips, uvs in VARIABLES.items() if pips in outer}
    return {**translated, **outer}


def _complaint(stderr: str) -> str:
    """What uv complains about, on one line and without addresses."""
    lines = [re.sub(r"^(error|cause|hint):\s*", "", line.strip()) for line in stderr.splitlines()]
    text = re.sub(r"`?[a-z]+://[^\s`)]+`?", "the index", " ".join(filter(None, lines)))
    return text[:LONGEST_COMPLAINT] or "uv failed without a word"
