"""``peft-conformance faults``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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
    budget: Annotated[
        str | None,
        typer.Option(
            help="Say instead how many a run of so many CPU seconds finds, such as 10s,30s,60s.", metavar="TIMES"
        ),
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Plant every fault and print which clauses detect it, after how many examples; exit 1 if one survives."""
    if budget is not None:
        raise typer.Exit(_kill_curve(ids or (), budget, format))

    _quietly()
    from conformance.faults import detections

    rows = []
    for row in detections(ids or (), seeds):
        rows.append(row)
        typer.echo(f"{row.fault}: {'found' if row.clauses else 'SURVIVES'}", err=True)
    if format is Format.JSON:
        print_json(rows)
    else:
        _print(rows)
    raise typer.Exit(1 if any(not row.clauses for row in rows) else 0)


def _quietly() -> None:
    """What the planted faults make others say is no news to anybody."""
    from conformance.worker import collector

    collector.calm()
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")


def _kill_curve(ids: Sequence[str], budget: str, format: Format) -> int:
    """Print when each fault is found, and how many in each time of ``budget``; 1 if none is found at all."""
    from conformance.session.time_budget import seconds

    limits = sorted(filter(None, map(seconds, budget.split(","))))
    _quietly()
    from conformance.session import kill_curve

    rows = []
    for row in kill_curve.kills(ids, limits[-1]):
        rows.append(row)
        typer.echo(
            f"{row.fault}: {'not found' if row.seconds is None else f'{row.seconds:g} s by {row.item}'}", err=True
        )
    if format is Format.JSON:
        print_json(rows)
    else:
        typer.echo("\n".join(kill_curve.lines(rows, limits)))
    return 0 if kill_curve.found_within(rows, limits[-1]) else 1


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
