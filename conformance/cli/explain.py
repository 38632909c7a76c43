"""``peft-conformance explain CLAUSE``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from conformance.clauses.registry import Clause


def explain(clause: str) -> None:
    """Explain one clause: what it claims, when it says something, and where it comes from."""
    from conformance.clauses.registry import clause_named

    typer.echo("\n".join(_lines(clause_named(clause))))


def _lines(clause: Clause) -> Iterator[str]:
    from conformance.report.finding import link

    yield f"{clause.id}\n  {clause.statement}"
    if clause.explanation:
        yield "\n" + "\n".join(f"  {line}".rstrip() for line in clause.explanation.splitlines())
    yield ""
    yield from (f"  needs     {needed.need}" for needed in clause.requires)
    control = {
        "same": "the same claim about the base model without a prefix",
        "runs": "the base model runs without a prefix",
    }
    yield f"  control   {control[clause.control]}"
    yield f"  conforms  takes at least {clause.decisive} decisive examples in the quick profile"
    yield from (f"  source    {link(source)}" for source in clause.sources)
    yield f"  judge it  peft-conformance run --clauses {clause.id}"
