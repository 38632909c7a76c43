"""The subjects that must pass every clause. One more is one more line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from conformance.core.errors import unknown

if TYPE_CHECKING:
    from conformance.runs.subject import Subject

Making = Callable[[], "AbstractContextManager[type[Subject]]"]


def _reference() -> AbstractContextManager[type[Subject]]:
    from conformance.runs.subject import maker_named

    return maker_named("reference")


SUBJECTS: dict[str, Making] = {"reference": _reference}
"""By name, what gives the maker of subjects, for as long as the context lasts."""


def subjects_named(text: str | None) -> tuple[str, ...]:
    """The healthy subjects in ``text``, separated by commas; all if there is none.

    Raises :class:`~conformance.core.errors.UserError` for any other name.
    """
    names = [name.strip() for name in (text or ",".join(SUBJECTS)).split(",")]
    for name in names:
        if name not in SUBJECTS:
            raise unknown("subject", name, SUBJECTS)
    return tuple(dict.fromkeys(names))
