"""Methods of prompt learning, by PEFT's names for them. One file each; this table is all that has to know of a new one.

Importing this imports no torch, and neither does :func:`method_named`: a method needs it only to compute.
"""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from conformance.core.errors import unknown

if TYPE_CHECKING:
    from conformance.methods.method import Method

METHODS = {
    "PREFIX_TUNING": "conformance.methods.prefix_tuning:PREFIX_TUNING",
    "PROMPT_TUNING": "conformance.methods.prompt_tuning:PROMPT_TUNING",
    "P_TUNING": "conformance.methods.p_tuning:P_TUNING",
    "MULTITASK_PROMPT_TUNING": "conformance.methods.multitask_prompt_tuning:MULTITASK_PROMPT_TUNING",
    "CARTRIDGE": "conformance.methods.cartridge:CARTRIDGE",
    "CPT": "conformance.methods.cpt:CPT",
}
"""Where each method is. The first is what an item is about whose name does not say.

A new one is the last: quick deals Cases to methods by their place here.
"""


def method_named(name: str) -> Method:
    """The method called ``name``. Raises :class:`~conformance.core.errors.UserError` for an unknown name."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return _found(METHODS[name])


@cache
def _found(where: str) -> Method:
    found: Method = resolve_name(where)
    return found
