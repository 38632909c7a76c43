"""Families and their registry."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from conformance.errors import unknown
from conformance.families.family import Family, read

__all__ = ["Family", "families", "family", "register"]

_extra: dict[str, Family] = {}


def folder() -> Path:
    """The folder of family files: inside the wheel, else the checkout's ``models/``."""
    package = Path(__file__).parent.parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


@cache
def _shipped() -> dict[str, Family]:
    return {found.name: found for found in map(read, sorted(folder().glob("*.toml")))}


def families() -> dict[str, Family]:
    """Every registered family by name, the shipped ones first."""
    return {**_shipped(), **_extra}


def family(name: str) -> Family:
    """The family called ``name``. Raises :class:`~conformance.errors.UserError` for an unknown name."""
    known = families()
    if name not in known:
        raise unknown("family", name, known)
    return known[name]


def register(path: Path) -> Family:
    """Add a family file of another repository. Raises :class:`~conformance.errors.UserError` if it is malformed."""
    found = read(path)
    _extra[found.name] = found
    return found
