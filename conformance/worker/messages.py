"""What goes through the pipe between a process and its child."""

from __future__ import annotations

from msgspec import Raw, Struct


class Call(Struct, frozen=True):
    """One request: the function, and the record that it is given."""

    function: str
    record: Raw


class Problem(Struct, frozen=True):
    """Why there is no answer. With a ``code`` it is a user's error, else an exception in words."""

    message: str
    code: str = ""
    cause: str = ""
    cure: str = ""


class Answer(Struct, frozen=True):
    """What the function returned, or why it did not."""

    value: Raw = Raw(b"null")
    problem: Problem | None = None
