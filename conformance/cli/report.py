"""``peft-conformance report merge | versions | methods``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from conformance.report.merged import Merged

report_app = typer.Typer(no_args_is_help=True, help="What many runs say together. Reads events, judges nothing.")

Files = Annotated[list[Path], typer.Argument(metavar="FILES...", help="events files that `run --report` wrote")]


@report_app.command("merge")
def merge_files(
    files: Files,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for summary.md and index.html")],
) -> None:
    """Write a Markdown summary and a page: which versions can be used, and what fails where."""
    from conformance.report.markdown import summary_page
    from conformance.report.page import html_page

    merged = _merged(files)
    _write({out / "summary.md": summary_page(merged), out / "index.html": html_page(merged)}, merged)


@report_app.command("versions")
def tabulate_versions(
    files: Files,
    out: Annotated[Path, typer.Option(metavar="FILE", help="the Markdown file, such as docs/versions.md")],
) -> None:
    """Write the table of versions, one word for each pair, and which families conform."""
    from conformance.report.versions import versions_page

    merged = _merged(files)
    _write({out: versions_page(merged)}, merged)


@report_app.command("methods")
def tabulate_methods(
    file: Annotated[Path, typer.Argument(metavar="EVENTS", help="the events file of one run")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="the Markdown file, such as docs/methods.md")],
) -> None:
    """Write what one run says of each method: families by chapters, in numbers of claims."""
    from conformance.report.merged import check_run, merge_runs
    from conformance.report.methods import methods_page
    from conformance.session.reader import read_events

    run = read_events(file)
    check_run(run, str(file))
    _write({out: methods_page(run)}, merge_runs([run]))


def _merged(files: Iterable[Path]) -> Merged:
    from conformance.report.merged import check_run, merge_runs
    from conformance.session.reader import read_events

    runs = []
    for file in files:
        runs.append(read_events(file))
        check_run(runs[-1], str(file))
    return merge_runs(runs)


def _write(texts: dict[Path, str], merged: Merged) -> None:
    """Write all of ``texts`` or, if one cannot be written, none."""
    from conformance.core.errors import UserError
    from conformance.report.sentences import totals

    fresh = {path: path.parent / f".{path.name}.{os.getpid()}" for path in texts}
    try:
        for path, text in texts.items():
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh[path].write_bytes(text.encode("utf-8", "replace"))
        for path in texts:
            fresh[path].replace(path)
    except OSError as error:
        for path in fresh.values():
            with suppress(OSError):
                path.unlink()
        raise UserError(
            "unwritable-report",
            f"{' and '.join(map(str, texts))} cannot be written: {error.strerror}",
            "a report is written as a whole or not at all",
            "give a place where you may write",
        ) from error
    typer.echo(f"{totals(merged)}: {' and '.join(map(str, texts))}")
