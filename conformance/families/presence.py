"""What the installed transformers has: a class that it never had is *absent*, one that cannot be imported is broken.

Decided by the table of names that transformers' lazy module keeps, not by trying: an ImportError inside a model's file, a missing
shared library or too little memory are no absence.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from msgspec import Struct

from conformance.compat.versions import within
from conformance.core.errors import UserError
from conformance.families import is_shipped
from conformance.families.family import Family
from conformance.worker.child import Child


class CannotImport(RuntimeError):
    """A judged package, or a class that it has, cannot be imported: nothing is known of it, and that is no absence."""


def absent(family: Family) -> str:
    """Why the installed transformers has no such family, or nothing.

    Raises :class:`CannotImport` for a class that it has and that cannot be imported, or for a PEFT that cannot, and
    :class:`~conformance.core.errors.UserError` for a class of the user's own that cannot be imported.
    """
    _require("peft")
    listed = _listed()
    missing = [name for name in _needed(family) if ":" not in name and name not in listed]
    if missing:
        if not is_shipped(family.name) and within("transformers", family.transformers):
            raise _misspelt(family, missing[0])
        return f"transformers {_require('transformers').__version__} has no {missing[0]}"
    for name in _needed(family):
        importable(name)
    return ""


def _misspelt(family: Family, name: str) -> UserError:
    from difflib import get_close_matches

    near = get_close_matches(name, _listed(), n=1, cutoff=0.8)
    return UserError(
        "no-such-class",
        f"{family.name}: transformers {_require('transformers').__version__} has no {name}",
        "a family file of another repository names classes of the installed transformers, or module:Class",
        (f"did you mean {near[0]!r}? " if near else "")
        + 'mend the name; if other releases have it, say which, as in transformers = ">=5.0", and it is absent elsewhere',
    )


@cache
def _listed() -> frozenset[str]:
    """Every name that the lazy module has, whether it can be imported or not."""
    return frozenset(dir(_require("transformers")))


def named(name: str) -> Any:
    """The class called ``name``: one of transformers, or ``module:Class``."""
    module, _, short = name.rpartition(":")
    return getattr(import_module(module or "transformers"), short)


def _needed(family: Family) -> list[str]:
    return list(filter(None, (family.model, family.config, family.text_config)))


@cache
def _require(package: str) -> Any:
    try:
        return import_module(package)
    except Exception as error:
        raise CannotImport(f"{package} cannot be imported: {type(error).__name__}: {error}") from error


@cache
def importable(name: str) -> bool:
    """That the class called ``name`` can be imported; raises as :func:`absent` says."""
    try:
        named(name)
    except Exception as error:
        if ":" not in name:
            words = f"transformers has {name}, but it cannot be imported: {type(error).__name__}: {error}"
            raise CannotImport(words) from error
        if not isinstance(error, AttributeError | ImportError):
            raise
        raise UserError(
            "no-such-class",
            f"{name} cannot be imported: {type(error).__name__}: {error}",
            "a family file names a class of your own as module:Class, and Python must find it from here",
            "install the package, put its folder on PYTHONPATH, or mend the name",
        ) from error
    return True


class Named(Struct, frozen=True):
    """A short process is asked whether the installed packages have what these ``families`` name."""

    families: tuple[Family, ...]


def check_names(foreign: tuple[Family, ...]) -> None:
    """Raise a :class:`~conformance.core.errors.UserError` for a class that nobody has, before anything runs.

    A short-lived child looks, so that this process loads no torch. Families of this project are absent in some releases, and
    are not looked at.
    """
    if foreign:
        with Child() as child:
            child.call(f"{__name__}:look_up", Named(foreign), dict[str, str])


def look_up(request: Named) -> dict[str, str]:
    """Which of them are absent, and why. What cannot be imported is told by the item that needs it."""
    found = {}
    for family in request.families:
        with suppress(CannotImport):
            found[family.name] = absent(family)
    return found
