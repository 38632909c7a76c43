"""What a user did wrong: a code, a message, the cause and the cure. Exit code 2, nothing half-written."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from conformance.core.plain import plain


class UserError(Exception):
    """A mistake that its reader can mend.

    ``code`` is stable and greppable (``unknown-family``), ``message`` says what is wrong with what was given,
    ``cause`` why that cannot work, ``cure`` what to do instead.
    """

    def __init__(self, code: str, message: str, cause: str, cure: str) -> None:
        super().__init__(message)
        self.code, self.message, self.cause, self.cure = code, message, cause, cure

    def __str__(self) -> str:
        return plain(f"{self.code}: {self.message}\n  cause: {self.cause}\n  cure:  {self.cure}")


def unreadable(kind: str, path: Path, error: OSError) -> UserError:
    """The error for a file that is not there, or cannot be read."""
    return UserError(
        "unreadable-file",
        f"{path} cannot be read: {error.strerror or error}",
        f"it was named as the place of a {kind}, and nothing can be read there",
        "give the path of a file that exists, from the folder in which the command runs",
    )


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in the closed list ``known``; suggests the nearest one."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    cure = f"did you mean {near[0]!r}? " if near else ""
    return UserError(
        f"unknown-{kind}",
        f"there is no {kind} {name!r}",
        f"a {kind} is one of: {', '.join(names)}",
        f"{cure}choose one of the names above",
    )


def duplicate(kind: str, name: str) -> UserError:
    """The error for a second ``kind`` of one name, which would replace the first without a word."""
    return UserError(
        f"duplicate-{kind}",
        f"there are two {kind}s called {name!r}",
        "the second would silently replace the first, and what the first checks would be lost",
        "rename one of them, or remove it if it is imported twice",
    )


def missing_statement(kind: str, name: str) -> UserError:
    """The error for a ``kind`` without a docstring."""
    if sys.flags.optimize > 1:
        return UserError(
            "no-docstrings",
            "Python runs with -OO, or PYTHONOPTIMIZE=2, which removes docstrings",
            f"the first line of its docstring is the statement that reports print for a {kind}",
            "run without it; -O is fine",
        )
    return UserError(
        "missing-statement",
        f"the {kind} {name!r} has no docstring",
        f"the first line of its docstring is the statement that reports print for a {kind}",
        "write one sentence that says what holds",
    )
