"""TOML files of users, read without trust: whatever is wrong with one is said in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from conformance.core.errors import unreadable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
LARGEST = 1_000_000
"""Bytes. What is written by hand is much smaller; a parser takes many times as much memory."""


class MalformedTomlError(ValueError):
    """What is wrong with a file."""


def read_toml(path: Path, kind: type[T], what: str) -> T:
    """The file at ``path``, which is called ``what``, as a ``kind``.

    Raises :class:`MalformedTomlError`, and a :class:`~conformance.core.errors.UserError` for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise MalformedTomlError(f"it has more than {LARGEST} bytes")
        return msgspec.convert(tomllib.loads(text.decode("utf-8")), kind, strict=False)
    except OSError as error:
        raise unreadable(what, path, error) from error
    except (RecursionError, MemoryError) as error:
        raise MalformedTomlError("it is nested too deeply") from error
    except (ValueError, msgspec.ValidationError) as error:  # also a number of thousands of digits
        raise MalformedTomlError(str(error)) from error
