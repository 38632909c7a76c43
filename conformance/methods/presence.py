"""What the installed releases have of a family and a method: what one never had is *absent*."""

from __future__ import annotations

from importlib import import_module

from conformance.families import Family, presence
from conformance.methods import method_named


def lacking(family: Family, method: str) -> str:
    """Why the installed transformers has no such family, or PEFT no such method; nothing if they have both.

    A config that PEFT has is in its namespace once it is imported: what it fails to import makes PEFT itself fail. Raises as
    :func:`conformance.families.presence.absent` does.
    """
    why = presence.absent(family)
    if why:
        return why
    peft, config = import_module("peft"), method_named(method).config
    return "" if hasattr(peft, config) else f"peft {peft.__version__} has no {config}"
