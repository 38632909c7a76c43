"""``peft-conformance clauses``."""

from __future__ import annotations

from itertools import groupby

import typer

from conformance.cli.common import Format, FormatOption, print_json


def list_clauses(format: FormatOption = Format.TEXT) -> None:
    """List the clauses by chapter, one sentence each."""
    from conformance.clauses.registry import clauses

    known = clauses().values()
    if format is Format.JSON:
        print_json([{"id": c.id, "chapter": c.chapter, "statement": c.statement, "sources": c.sources} for c in known])
        return
    for chapter, group in groupby(known, key=lambda clause: clause.chapter):
        typer.echo(chapter)
        for clause in group:
            typer.echo(f"  {clause.id.partition('.')[2]:<28} {clause.statement}")
