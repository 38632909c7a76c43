"""How a function of a judged package is replaced at run time. Nothing of theirs is imported before that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pkgutil import resolve_name
from typing import Any
from unittest import mock

Patched = AbstractContextManager[Any]
"""What puts a patch in force for the length of a block."""


Change = Callable[[dict[str, Any]], dict[str, Any]]
"""From the arguments of a call, or from arguments that it makes, by name, to what is given in their place."""


def given_to(owner: Any, name: str, change: Change) -> Patched:
    """Within the block the method ``name`` of the object ``owner`` is given what ``change`` makes of its arguments."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def changed(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **change(kwargs))

    return mock.patch.object(owner, name, changed)


def taken_from(owner: Any, name: str, change: Change) -> Patched:
    """Within the block the method ``name`` of the object ``owner`` gives what ``change`` makes of what it gives."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def changed(*args: Any, **kwargs: Any) -> Any:
        return change(inner(*args, **kwargs))

    return mock.patch.object(owner, name, changed)


def around(owner: str, name: str, wrapper: Callable[..., Any]) -> Patched:
    """Within the block ``owner.name(*args)`` is ``wrapper(original, *args)``; ``owner`` is ``module:Class``, or a module."""
    target = resolve_name(owner)
    original = getattr(target, name)

    # transformers reads the signatures of some methods.
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    return mock.patch.object(target, name, replaced)
