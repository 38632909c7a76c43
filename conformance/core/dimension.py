"""What a dimension of the Case space is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Literal

from msgspec import Struct

from conformance.core.case import Case

Predicate = Callable[[Case], bool]
Of = Literal["drawn", "method", "asked", "told", "placed"]


class Dimension(Struct, frozen=True, kw_only=True):
    """One dimension of the Case space.

    ``classes`` are predicates by name, of which exactly one holds. ``of``: strategies vary it in Cases that are ``drawn``; or in
    those of a ``method`` that varies its field, beside what arrays make; or relations do, in every drawn Case they fit, when a
    clause has ``asked``; or it is a step that is ``told`` of in a story; or where ``placed`` models lie. ``field`` names
    the one field of a Case that decides, where it is one, and ``values`` what is drawn for it, simplest first; none
    where the family file says which there are. ``unsaid`` is the class that features do not mention: what nobody would say.
    """

    name: str
    classes: Mapping[str, Predicate]
    of: Of = "drawn"
    field: str = ""
    values: tuple[Any, ...] = ()
    unsaid: str = ""

    def class_of(self, case: Case) -> str:
        """The class of ``case``."""
        return next(name for name, holds in self.classes.items() if holds(case))

    def counts(self, case: Case) -> bool:
        """Whether the dimension says anything of ``case``: what a map says counts for placed models only, steps in stories."""
        return {"placed": case.placed, "told": bool(case.story)}.get(self.of, True)


def by_field(field: str, of: Of = "drawn", /, *, all_said: bool = False, **classes: Any) -> Dimension:
    """The dimension of a field that takes one of a few values: a class for each, of which the first is *unsaid*."""
    read = attrgetter(field)

    def holds(value: object) -> Predicate:
        return lambda case: bool(read(case) == value)

    return Dimension(
        name=field,
        classes={name: holds(value) for name, value in classes.items()},
        of=of,
        field=field,
        values=tuple(classes.values()),
        unsaid="" if all_said else next(iter(classes)),
    )
