"""``peft-conformance explain CLAUSE``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from conformance.clauses.registry import Clause


def explain(clause: str) -> None:
    """Explain one clause: what it claims, when it says something, and where it comes from."""
    typer.echo("\n".join(_lines(exactly(clause))))


def exactly(name: str) -> Clause:
    """The clause whose id is ``name``. Raises :class:`~conformance.core.errors.UserError` for any other."""
    from conformance.clauses.registry import clauses
    from conformance.core.errors import unknown

    known = clauses()
    if name not in known:
        raise unknown("clause", name, known)
    return known[name]


def _lines(clause: Clause) -> Iterator[str]:
    from conformance.report.finding import link

    yield f"{clause.id}\n  {clause.statement}"
    if clause.explanation:
        yield "\n" + "\n".join(f"  {line}".rstrip() for line in clause.explanation.splitlines())
    yield ""
    for needs in clause.when:
        yield f"  needs     {(inspect.getdoc(needs) or needs.__name__).splitlines()[0]}"
    control = {
        "same": "the same claim about the base model without a prefix",
        "runs": "the base model runs without a prefix",
    }
    yield f"  control   {control[clause.control]}"
    yield f"  conforms  takes at least {clause.decisive} decisive examples in the quick profile"
    yield from (f"  source    {link(source)}" for source in clause.sources)
    yield f"  judge it  peft-conformance run --clauses {clause.id}"
