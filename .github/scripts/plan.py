"""The night's stacks, for the matrix of nightly.yml: `nox -l --json -s stack | plan.py`, for every stack that nox lists."""

from __future__ import annotations

import json
import re
import sys

PYTHON = "3.11"
"""For a session that names no Python of its own."""


def plan(listed: str) -> list[dict[str, str]]:
    """``stack(NAME)`` becomes a stack and its Python. Raises :class:`ValueError` where nothing is listed: no empty night."""
    stacks = []
    for session in json.loads(listed):
        if found := re.fullmatch(r"[^(]+\((.+)\)", session["session"]):
            stacks.append({"stack": found[1], "python": session.get("python") or PYTHON})
    if not stacks:
        raise ValueError("nox lists no stack")
    return stacks


if __name__ == "__main__":
    print(f"stacks={json.dumps(plan(sys.stdin.read()))}")
