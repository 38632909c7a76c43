"""Inputs, one file per kind. A family file names its kind, ``inputs = "idefics"``; a kind is the ``INPUTS`` of its module.

Every kind but ``text`` is of images, which the family file describes in ``[pixels]``.
"""

from __future__ import annotations

from functools import cache
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
    return inputs_called(family.inputs)


@cache
def inputs_called(kind: str) -> Inputs:
    """The kind of input of that name."""
    inputs: Inputs = import_module(f"{__name__}.{kind}").INPUTS
    return inputs


def request(case: Case, family: Family) -> dict[str, Tensor]:
    """What the user passes to forward and to generate, except ``inputs_embeds``, which need the model."""
    from conformance.families.inputs.text import MASKS, padding_mask, position_ids, token_ids

    arguments = {"input_ids": token_ids(case), **inputs_of(family).beside(case, family, case.longest)}
    if case.mask != "omitted":
        arguments["attention_mask"] = padding_mask(case).to(MASKS[case.mask])
    if case.given_positions:
        arguments["position_ids"] = position_ids(case, padding_mask(case))
    return arguments
