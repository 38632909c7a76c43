"""``peft-conformance run``."""

from __future__ import annotations

from typing import Annotated

import typer

from conformance.cli.common import Format, FormatOption, takes_options
from conformance.core.options import Given


@takes_options("run")
def run(
    given: Given,
    exitfirst: Annotated[bool, typer.Option("-x", "--exitfirst", help="stop at the first failure")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Judge the installed PEFT: every clause for every family."""
    from conformance.cli.launch import launch, worker_count
    from conformance.cli.show import print_run_as
    from conformance.compat.versions import judged
    from conformance.session.selection import devices_named, resolve

    selection = resolve(given)
    workers = worker_count(given, len(selection.items) + len(selection.replays))
    devices_named(selection.devices)
    mended = f" with {len(selection.mended)} known failures mended" if selection.mended else ""
    typer.echo(
        f"judging {judged()}{mended}; items: {len(selection.items)}, known failures: {len(selection.replays)}, "
        f"profile: {selection.profile}, seed: {selection.budget.seed}",
        err=format is Format.JSON,
    )
    finished = launch(given, workers, exitfirst)
    raise typer.Exit(print_run_as(finished, format) if finished else 2)
