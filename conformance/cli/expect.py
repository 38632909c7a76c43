"""``peft-conformance expect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.core.options import Given
from conformance.session.events import Run


def expect(
    events: Annotated[Path | None, typer.Argument(help="events of a whole run (default: judge everything now)")] = None,
    check: Annotated[bool, typer.Option("--check", help="compare to the count, and write nothing")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="the file (default: the shipped one)")] = None,
    workers: Annotated[str, typer.Option(metavar="N", help="processes, where it judges")] = "auto",
) -> None:
    """Write down what a run of this pair must decide, a line per item; or exit 1 where one differs in word or count."""
    from conformance.session.expectation import Expectation, path_for, read_expectation
    from conformance.session.reader import read_events

    run = read_events(events) if events else _judged({"workers": (workers,), "expect": ("none",)})
    made, path = Expectation.of(run), out or path_for(run.pair)
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.text(), "utf-8")
        typer.echo(f"{path}: {len(made.cells)} items of {run.pair}")
        return
    changes = read_expectation(path, run.pair).changes(run.cells)
    for change in changes:
        typer.echo(change)
    typer.echo(f"{len(changes)} of {len(made.cells)} items are not as {path.name} says")
    raise typer.Exit(1 if changes else 0)


def _judged(given: Given) -> Run:
    from conformance.cli.launch import launch, worker_count
    from conformance.session.selection import resolve

    selection = resolve(given)
    run = launch(given, worker_count(given, len(selection.items) + len(selection.replays)), exitfirst=False)
    if run is None:
        raise typer.Exit(2)
    return run
