"""``peft-conformance faults``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.common import Format, FormatOption, print_json

if TYPE_CHECKING:
    from conformance.faults import Detection

COLUMNS = ("fault", "found by", "examples", "worst", "seconds")
WIDTH = 110
"""Long names are not broken in a narrow window."""


def plant_faults(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Faults to plant; all of them if none is named.", metavar="FAULT")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds over which examples are counted.")] = 10,
    format: FormatOption = Format.TEXT,
) -> None:
    """Plant every fault and print which clauses detect it, after how many examples; exit 1 if one survives."""
    import torch
    import transformers

    from conformance.faults import detections

    torch.set_num_threads(1)
    # What the planted faults make them say is no news to anybody.
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    rows = []
    for row in detections(ids or (), seeds):
        rows.append(row)
        typer.echo(f"{row.fault}: {'found' if row.clauses else 'SURVIVES'}", err=True)
    if format is Format.JSON:
        print_json(rows)
    else:
        _print(rows)
    raise typer.Exit(1 if any(not row.clauses for row in rows) else 0)


def _print(rows: list[Detection]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column in COLUMNS[:2] else "right")
    for row in rows:
        numbers = (row.examples_median, row.examples_worst, row.cpu_seconds)
        table.add_row(row.fault, _finders(row), *("-" if n is None else f"{n:g}" for n in numbers))
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(table)


def _finders(row: Detection) -> str:
    """The clauses that found the fault, the one that had to first."""
    if not row.clauses:
        return "nobody: it survives" if row.fired else "nobody: it never took effect"
    others = [id for id in row.clauses if id != row.clause]
    return "\n".join([row.clause if row.clause in row.clauses else f"not {row.clause}", *others])
