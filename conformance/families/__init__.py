"""Families and their registry."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from conformance.core.errors import UserError, unknown
from conformance.families.family import Family, read_family

__all__ = ["Family", "adopt", "families", "family_named", "flagships", "foreign", "is_shipped", "register"]

_extra: dict[str, Family] = {}


def folder() -> Path:
    """The folder of family files: inside the wheel, else the checkout's ``models/``."""
    package = Path(__file__).parent.parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


@cache
def _shipped() -> dict[str, Family]:
    return {family.name: family for family in map(read_family, sorted(folder().glob("*.toml")))}


def families() -> dict[str, Family]:
    """Every registered family by name, the shipped ones first."""
    return {**_shipped(), **_extra}


def flagships() -> dict[str, Family]:
    """The families that tests build and run: each reaches code that no other does."""
    return {name: family for name, family in _shipped().items() if family.flagship}


def family_named(name: str) -> Family:
    """The family called ``name``. Raises :class:`~conformance.core.errors.UserError` for an unknown name."""
    family = _extra.get(name) or _shipped().get(name)
    if family is None:
        raise unknown("family", name, families())
    return family


def is_shipped(name: str) -> bool:
    """Whether the family called ``name`` comes with this project."""
    return name in _shipped()


def foreign(name: str) -> Family | None:
    """The family called ``name`` if it does not come with this project: another process cannot know it."""
    return None if is_shipped(name) else family_named(name)


def register(path: Path) -> Family:
    """Add a family file of another repository.

    Raises :class:`~conformance.core.errors.UserError` if it is malformed, or named like a shipped family: a Case says no more
    than the name, and would mean another model elsewhere.
    """
    family = read_family(path)
    if is_shipped(family.name):
        raise UserError(
            "taken-family",
            f"{path.name}: the name {family.name!r} is taken by a family that comes with this project",
            "a Case names its family, and must mean the same model wherever it is replayed",
            "give the file and the family another name",
        )
    adopt(family)
    return family


def adopt(family: Family) -> None:
    """Add a family that another process has read."""
    _extra[family.name] = family
