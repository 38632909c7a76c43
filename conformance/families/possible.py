"""Which Cases a family can have at all. A Case from a user, a file or a database need not have been drawn."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.core.case import Case, Roles
from conformance.core.errors import UserError
from conformance.families.family import Family

PLAIN = Roles()
"""Every family also has what a role is where nothing is said of it."""


def impossible(family: Family, case: Case) -> str:
    """Why no strategy could draw ``case``, in words; nothing for one that could be drawn, or that a shrink may reach."""
    return next(_problems(family, case), "")


def require_possible(family: Family, case: Case) -> None:
    """Raise a :class:`~conformance.core.errors.UserError` for a Case that is :func:`impossible`."""
    problem = impossible(family, case)
    if problem:
        raise UserError(
            "impossible-case",
            f"Case {case.id} is none of the family {family.name}: {problem}",
            "no strategy draws such a Case and no shrink ends there, so whatever it shows is nobody's fault",
            "give a Case as a report printed it, for a family that is the same as then",
        )


def _problems(family: Family, case: Case) -> Iterator[str]:
    roles, draw = case.roles, family.draw
    if case.family != family.name:
        yield f"it is of the family {case.family!r}"
    if not case.prefix.length:
        yield "it has no virtual tokens: it is the control"
    if family.encoder_decoder != bool(roles.encoder_layers):
        yield "it has no encoder" if family.encoder_decoder else "it has an encoder"
    if not roles.heads or not roles.kv_heads or roles.heads % roles.kv_heads:
        yield f"{roles.heads} heads cannot share {roles.kv_heads} key/value heads"
    for role, values in (("activation", draw.activation), ("rope", draw.rope)):
        value = getattr(roles, role)
        if value not in (*values, getattr(PLAIN, role), "default" if role == "rope" else ""):
            yield f"its {role} is {value!r}"
    if any(roles.sliding) and not roles.window:
        yield "layers slide, and there is no window"
