"""The night's stacks, for the matrix of nightly.yml: `nox -l --json -s stack | plan.py`, for every stack that nox lists.

A stack without the tag `current` is settled: two releases that nobody can change any more.
"""

from __future__ import annotations

import json
import re
import sys

PYTHON = "3.11"
"""For a session that names no Python of its own."""
CURRENT = "current"


def plan(listed: str) -> list[dict[str, str | bool]]:
    """``stack(NAME)`` becomes a stack, its Python, and whether it is settled.

    Raises :class:`ValueError` where nothing is listed: no empty night.
    """
    stacks: list[dict[str, str | bool]] = []
    for session in json.loads(listed):
        if stack := re.fullmatch(r"[^(]+\((.+)\)", session["session"]):
            python, tags = session.get("python") or PYTHON, session.get("tags") or ()
            stacks.append({"stack": stack[1], "python": python, "settled": CURRENT not in tags})
    if not stacks:
        raise ValueError("nox lists no stack")
    return stacks


if __name__ == "__main__":
    print(f"stacks={json.dumps(plan(sys.stdin.read()))}")
