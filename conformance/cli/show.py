"""``peft-conformance show FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from conformance.cli.common import Format, FormatOption, print_json

if TYPE_CHECKING:
    from conformance.session.events import Run


def show_file(file: Path, format: FormatOption = Format.TEXT) -> None:
    """Show the run that an events file holds, and exit as it did; 3 for one that did not finish."""
    from conformance.session.reader import read_events

    raise typer.Exit(print_run_as(read_events(file), format))


def print_run_as(run: Run, format: Format) -> int:
    """Print ``run`` and give its exit code."""
    from rich.console import Console

    from conformance.report.terminal import print_run
    from conformance.session.exit_codes import code_of

    if format is Format.JSON:
        print_json(run)
    else:
        print_run(run, Console(highlight=False))
    return code_of(run)
