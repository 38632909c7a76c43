"""``peft-conformance known list | check``."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
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
    from conformance.engine.known import KnownFailure

known_app = typer.Typer(no_args_is_help=True, help="Known failures: violations that are understood.")


class ListFormat(str, Enum):
    """For whom to print; toml is the file itself."""

    TEXT = "text"
    JSON = "json"
    TOML = "toml"


@known_app.command("list")
def list_known(
    known: KnownOption = None, format: Annotated[ListFormat, typer.Option("--format")] = ListFormat.TEXT
) -> None:
    """List the known failures: where they hold, the function at fault, and why."""
    from conformance.session.selection import read_known

    file, entries = read_known(known)
    if format is ListFormat.JSON:
        print_json(entries)
    elif format is ListFormat.TOML:
        typer.echo(file.read_text("utf-8") if file else "schema = 1", nl=file is None)
    else:
        for entry in entries:
            say("\n".join(known_lines(entry)))


@known_app.command("check")
def check_known(
    known: KnownOption = None,
    devices: DevicesOption = None,
    format: FormatOption = Format.TEXT,
    family_file: FamilyFileOption = None,
) -> None:
    """Replay each known failure that applies here; exit 4 if one no longer fails."""
    from conformance.compat.versions import judged, require
    from conformance.session.exit_codes import MEANING, exit_code
    from conformance.session.judge import replay_known
    from conformance.session.selection import check_entries, devices_named, read_known

    register_files(family_file)
    _, entries = read_known(known)
    on = devices_named(devices)
    chosen = [entry for entry in entries if entry.applies(require())]
    check_entries(entries if known else chosen)
    text = format is Format.TEXT
    if text:
        typer.echo(f"replaying {len(chosen)} of {len(entries)} known failures on {judged()}")
    done = []
    for entry in chosen:
        done.append(replay_known(entry, entries, on))
        if text:
            say(f"  {done[-1].id}: {done[-1].state}" + (f", {done[-1].why}" if done[-1].why else ""))
    code = exit_code([], done, complete=True)
    if text:
        typer.echo(f"Exit code {code}: {MEANING[code]}.")
    else:
        print_json(done)
    raise typer.Exit(code)


def known_lines(entry: KnownFailure) -> Iterator[str]:
    """One known failure: where it holds, whether it does here, the function at fault, and why."""
    from conformance.compat.versions import versions
    from conformance.report.finding import link

    severity = f" ({entry.severity})" if entry.severity else ""
    yield f"{entry.id}{severity}: {', '.join(entry.clauses)} for {', '.join(entry.families)}"
    judged = {name: versions().get(name) for name in ("peft", "transformers")}
    here = ""
    if all(judged.values()):
        holds = "with" if entry.applies(versions()) else "not with"
        here = f": {holds} the installed {judged['peft']} x {judged['transformers']}"
    yield f"  peft {entry.peft}, transformers {entry.transformers}{here}"
    yield f"  {entry.function}: {' '.join(entry.reason.split())}"
    if entry.objection:
        yield f"  Objection: {entry.objection} Answer: {' '.join(entry.answer.split())}"
    yield from (f"  {link(address)}" for address in entry.links)
