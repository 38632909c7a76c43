"""Inputs, one file per kind. A family file names its kind, ``inputs = "idefics"``; a kind is the ``INPUTS`` of its module."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case
    from conformance.families.family import Family
    from conformance.families.inputs.text import Inputs


def kinds() -> list[str]:
    """The names of all kinds of input."""
    return [module.name for module in iter_modules(__path__)]


def inputs_of(family: Family) -> Inputs:
    """The kind of input that ``family`` takes."""
    found: Inputs = import_module(f"{__name__}.{family.inputs}").INPUTS
    return found


def request(case: Case, family: Family) -> dict[str, Tensor]:
    """What the user passes to forward and to generate, except ``inputs_embeds``, which need the model."""
    from conformance.families.inputs import text

    return text.request(case, family, inputs_of(family))
