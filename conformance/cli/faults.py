"""``peft-conformance faults``."""

from __future__ import annotations

from importlib import import_module

import typer

from conformance.cli.common import Format, FormatOption, print_json


def faults(format: FormatOption = Format.TEXT) -> None:
    """Plant every fault and print which clauses detect it, after how many examples; exit 1 if one survives."""
    import msgspec
    from rich.console import Console
    from rich.table import Table

    rows = [msgspec.to_builtins(row) for row in import_module("conformance.faults").table()]
    if format is Format.JSON:
        print_json(rows)
    elif rows:
        table = Table(box=None, pad_edge=False)
        for column in rows[0]:
            table.add_column(column)
        for row in rows:
            table.add_row(
                *(", ".join(value) if isinstance(value, (list, tuple)) else str(value) for value in row.values())
            )
        Console(highlight=False).print(table)
    raise typer.Exit(1 if any(not row["clauses"] for row in rows) else 0)
