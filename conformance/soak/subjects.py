"""The subjects that must pass every clause. One more is one more line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from conformance.core.errors import unknown

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

Making = Callable[[], "AbstractContextManager[Lab]"]


@contextmanager
def _reference() -> Iterator[Lab]:
    from conformance.runs.lab import Lab

    yield Lab("reference")


@contextmanager
def _mended() -> Iterator[Lab]:
    """The installed PEFT with the mends of all known failures that it has."""
    from conformance.compat.versions import versions
    from conformance.engine.explain import with_mends
    from conformance.engine.known import load, shipped
    from conformance.runs.lab import Lab

    entries = tuple(entry for entry in load(shipped()) if entry.applies(versions()))
    with with_mends(Lab("peft"), entries, ("all",)) as lab:
        yield lab


SUBJECTS: dict[str, Making] = {"reference": _reference, "mended": _mended}
"""By name, what gives a lab whose subjects are right, for as long as the context lasts."""


def subjects_named(text: str | None) -> tuple[str, ...]:
    """The healthy subjects in ``text``, separated by commas; all if there is none.

    Raises :class:`~conformance.core.errors.UserError` for any other name.
    """
    names = [name.strip() for name in (text or ",".join(SUBJECTS)).split(",")]
    for name in names:
        if name not in SUBJECTS:
            raise unknown("subject", name, SUBJECTS)
    return tuple(dict.fromkeys(names))
