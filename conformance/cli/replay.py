"""``peft-conformance replay``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.common import (
    DevicesOption,
    FamilyFileOption,
    Format,
    FormatOption,
    KnownOption,
    print_json,
    register_files,
    say,
)

if TYPE_CHECKING:
    from conformance.engine.controls import Example


def replay_case(
    case: Annotated[str, typer.Argument(help="a file, an id, or the text of a Case: JSON or its repr")],
    clause: Annotated[str | None, typer.Option(help="the clause to hold it against")] = None,
    events: Annotated[Path | None, typer.Option(metavar="FILE", help="events file in which to look an id up")] = None,
    known: KnownOption = None,
    mended: Annotated[
        str | None, typer.Option(metavar="IDS", help="known failures to mend, separated by commas")
    ] = None,
    devices: DevicesOption = None,
    family_file: FamilyFileOption = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Run one Case again, with its controls: exit 1 if it violates, known or not, 0 if it conforms, 5 if it decides nothing."""
    from msgspec.structs import replace

    from conformance.cli.parse import clause_for, find_case
    from conformance.compat.versions import judged
    from conformance.core.outcome import TABLE
    from conformance.engine.controls import Example
    from conformance.families import family_named
    from conformance.families.possible import require_possible
    from conformance.session.judge import run_case
    from conformance.session.reader import read_events
    from conformance.session.selection import devices_named, entries_named, read_known

    register_files(family_file)
    entries = read_known(known)[1]
    chosen_case, reported = find_case(case, entries, read_events(events) if events else None)
    in_force = entries_named(mended, entries)
    chosen_clause, on = clause_for(clause, reported), devices_named(devices)
    require_possible(family_named(chosen_case.family), chosen_case)
    if format is Format.TEXT:
        typer.echo(f"replaying Case {chosen_case.id} against {chosen_clause.id} on {judged()}")
    example = run_case(chosen_clause, chosen_case, mended=in_force, confirmed=True, devices=on)
    if isinstance(example, str):
        typer.echo(f"absent: {example}", err=format is Format.JSON)
        raise typer.Exit(5)
    if example.finding:
        # Again, since what is known is neither confirmed nor blamed on anybody.
        explained = run_case(chosen_clause, chosen_case, known=entries, mended=in_force, devices=on)
        if isinstance(explained, Example):
            beyond = explained.finding.beyond if explained.finding else ()
            example = replace(example, known=explained.known, finding=replace(example.finding, beyond=beyond))
    if format is Format.JSON:
        print_json(example)
    else:
        say(_example_text(example))
    code = TABLE[example.outcome.value].code
    raise typer.Exit(5 if code is None else code)


def _example_text(example: Example) -> str:
    from conformance.report.finding import finding_text

    if example.finding:
        known = f"\n  known     as {', '.join(example.known)}: mended, it conforms" if example.known else ""
        return finding_text(example.finding) + known
    return f"{example.outcome.value}" + (f": {example.reason}" if example.reason else "")
