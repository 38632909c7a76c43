"""Assertions on what cannot work."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conformance.assertions.logits import agree
from conformance.core.signals import RunFailed, violation
from conformance.families import family_named
from conformance.methods import method_named
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.methods.wrong import Mistake
    from conformance.runs.lab import Lab

WORDS = 2
"""So many words of the name of a setting name it: what an error calls it in prose."""


def refused_or_honoured(lab: Lab, case: Case) -> None:
    """What ``case`` asks for wrongly is refused in words that name what is wrong, or answered right, where that is possible.

    A refusal that names something else is handed on as *misleading*.
    """
    mistake = method_named(case.method).wrongs(case, family_named(case.family))[case.wrong]
    try:
        got = lab.generate(case)
    except RunFailed as failed:
        if failed.refused and not names_it(str(failed.error), mistake):
            raise RunFailed(failed.call, failed.error, failed.where, refused=True, misleading=True) from failed.error
        if failed.refused:
            return
        raise
    if not mistake.answerable:
        raise violation(f"generate with {shown(mistake)}", "an answer", "an error that names it")
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens), f"it answers otherwise with {shown(mistake)}")


def shown(mistake: Mistake) -> str:
    """What is wrong, as a user would write it."""
    told = ", ".join(f"{name}={value!r}" for name, value in mistake.settings.items())
    return " ".join(filter(None, (told, f"without {', '.join(mistake.missing)}" if mistake.missing else "")))


def names_it(message: str, mistake: Mistake) -> bool:
    """Whether an error's ``message`` names what is wrong: a setting, in one word or in prose, its value, or what is missing."""
    said = set(re.findall(r"[a-z]+", message.lower()))
    return any(
        _named(name, said) or (isinstance(value, str) and value in message) for name, value in values_told(mistake)
    )


def values_told(mistake: Mistake) -> list[tuple[str, object]]:
    """Each setting that is wrong, with its value, and all that is missing."""
    return [*mistake.settings.items(), *((name, None) for name in mistake.missing)]


def _named(name: str, said: set[str]) -> bool:
    return len(said.intersection(name.split("_"))) >= WORDS
