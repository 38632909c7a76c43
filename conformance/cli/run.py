"""``peft-conformance run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.cli.common import DevicesOption, FamilyFileOption, Format, FormatOption, KnownOption

Names = Annotated[
    list[str] | None, typer.Option(metavar="NAMES", help="separated by commas, or repeated (default: all)")
]


def run(  # noqa: PLR0913, PLR0917 - one parameter per option of the command
    families: Names = None,
    clauses: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="ids, chapters or globs, separated by commas")
    ] = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="quick (default), standard or thorough")] = None,
    examples: Annotated[
        str | None, typer.Option(metavar="N", help="examples per stratum, in place of the profile's")
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="seed of the search (default: 0)")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="stop after 60s, 5m, 1h; what is left is not run")
    ] = None,
    known: KnownOption = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="earlier violations: none, local, redis://... or github:OWNER/REPOSITORY"),
    ] = None,
    devices: DevicesOption = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="write events to FILE, as JSON lines")] = None,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="processes; pays above some ten seconds of work")
    ] = 0,
    family_file: FamilyFileOption = None,
    exitfirst: Annotated[bool, typer.Option("-x", "--exitfirst", help="stop at the first failure")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Judge the installed PEFT: every clause for every family."""
    from conformance.cli.launch import launch
    from conformance.cli.show import present
    from conformance.compat.versions import judged
    from conformance.session.selection import devices_named, resolve

    given = {
        "families": ",".join(families) if families else None,
        "clauses": ",".join(clauses) if clauses else None,
        "profile": profile,
        "examples": examples,
        "seed": seed,
        "time": time,
        "known": known if known in (None, "none") else str(Path(known).absolute()),
        "database": database,
        "devices": devices,
        "report": str(report.absolute()) if report else None,
    }
    files = [file.absolute() for file in family_file or ()]
    selection = resolve(given, map(str, files))
    devices_named(devices)
    typer.echo(
        f"judging {judged()}; items: {len(selection.items)}, known failures: {len(selection.replays)}, "
        f"profile: {selection.profile}, seed: {selection.budget.seed}",
        err=format is Format.JSON,
    )
    done = launch(given, files, workers, exitfirst)
    raise typer.Exit(present(done, format) if done else 2)
