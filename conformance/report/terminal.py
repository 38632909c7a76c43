"""The end of a run on a terminal: the table, what was found, what is known, what was left out, and one closing line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import fill, indent, shorten

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.core.finding import Cell, Finding
from conformance.core.outcome import BROKEN, KNOWN, NO_DECISION_WORDS, TABLE, VIOLATES, WORDS
from conformance.core.plain import plain
from conformance.report.failures import Key, same_violation
from conformance.report.finding import finding_text, link, repeat
from conformance.report.phrases import counted, plural
from conformance.report.shares import decided_in_part
from conformance.report.table import family_table
from conformance.session.events import Replayed, Run
from conformance.session.exit_codes import code_of, meaning_of

WIDEST = 10_000
"""Columns: more than any table has."""
Section = tuple[str, list[str], str]
"""A title, paragraphs and a style. Without paragraphs it is not shown."""


def print_run(run: Run, console: Console) -> None:
    """Print all of it."""
    if run.cells:
        _print_table(family_table(run.cells), console)
    for lane, chapters in _lanes(run.cells).items():
        console.print(plain(f"{', '.join(chapters)}: on {lane}"), style="dim", markup=False)
    for title, paragraphs, style in _sections(run):
        if paragraphs:
            console.print()
            console.print(Text(plain(title), style=style))
        for paragraph in paragraphs:
            console.print(plain(paragraph), markup=False, highlight=False, soft_wrap=True)
    console.print()
    colour = "green" if code_of(run) == 0 else "red"
    console.print(Text(closing(run), style=f"bold {colour}"), soft_wrap=True)


def _print_table(table: Table, console: Console) -> None:
    """Lines of a table that are wider than the window are broken by it; rich would leave out columns."""
    needed = console.measure(table, options=console.options.update(width=WIDEST)).minimum
    before, console.width = console.width, max(console.width, needed)
    console.print(table)
    console.width = before


def _lanes(cells: Iterable[Cell]) -> dict[str, dict[str, None]]:
    """Which chapters were judged on which devices, where it was not simply the CPU."""
    lanes: dict[str, dict[str, None]] = {}
    for cell in cells:
        if cell.lane:
            lanes.setdefault(cell.lane, {})[cell.item.chapter] = None
    return lanes


def closing(run: Run) -> str:
    """The verdict in words, with the exit code and what it means."""
    code = code_of(run)
    if run.footer is None:
        at = f", stopped at {', '.join(run.running)}" if run.running else ""
        result = f"this run is incomplete{at}: it proves nothing"
    else:
        gravest_first = dict(sorted(run.footer.counts.items(), key=lambda count: _gravity(count[0])))
        result = f"{counted(gravest_first) or 'no item'} in {run.footer.seconds:.0f} s"
    means = meaning_of(code, (cell.word for cell in run.cells))
    return plain(f"{run.pair}: {result}. Exit code {code}: {means}.")


def _gravity(word: str) -> tuple[int, str]:
    return (WORDS.index(word) if word in WORDS else len(WORDS), word)


def _sections(run: Run) -> Iterator[Section]:
    broken = [f"  {cell.item}\n{_indented(cell.reasons)}" for cell in run.cells if cell.word == BROKEN]
    yield "Broken harness", broken, TABLE[BROKEN].style
    yield from _violations(run.cells)
    lost = [f"  {replay.item}\n{_indented(replay.why)}" for replay in run.known if replay.state == BROKEN]
    yield "Broken replays", lost, TABLE[BROKEN].style
    fixed = [f"  {replay.id}: {replay.why}; remove the entry" for replay in run.known if replay.state == "mended"]
    yield "Known failures that no longer fail", fixed, TABLE[VIOLATES].style
    other = [f"  {replay.id}: {replay.why}" for replay in run.known if replay.state == "not explained"]
    yield "Known failures that do not explain their own Case", other, TABLE[VIOLATES].style
    yield "Known failures", list(_known(run.cells, run.known)), TABLE[KNOWN].style
    yield "The base model alone fails too (about transformers, not judged)", list(_about_transformers(run.cells)), ""
    yield "Not decided", list(_undecided(run.cells)), "dim"
    yield "Decided in part", list(decided_in_part(run.cells)), "dim"
    short = run.footer.short if run.footer else ()
    yield "Less was tested than expected", [f"  {words}" for words in short], TABLE[VIOLATES].style
    yield "To be noted", [f"  {note}" for note in run.notes], TABLE[BROKEN].style


def _violations(cells: Iterable[Cell]) -> Iterator[Section]:
    """One section per violation: the first item of the run in full, the others by what repeats them."""
    groups: dict[Key, list[Finding]] = {}
    for cell in cells:
        if cell.verdict and cell.verdict.finding and cell.word == VIOLATES:
            groups.setdefault(same_violation(cell.verdict.finding), []).append(cell.verdict.finding)
    for number, (first, *others) in enumerate(groups.values(), 1):
        also = [f"  also {_elsewhere(finding, first)}: {repeat(finding)}" for finding in others]
        yield f"Violation {number} of {len(groups)}", [finding_text(first), *also], TABLE[VIOLATES].style


def _elsewhere(finding: Finding, first: Finding) -> str:
    return f"in {finding.item.subject}" if finding.clause == first.clause else f"as {finding.item}"


def _known(cells: Iterable[Cell], replays: Iterable[Replayed]) -> Iterator[str]:
    matched: dict[str, list[tuple[Cell, int]]] = {}
    for cell in cells:
        for id, number in cell.verdict.known.items() if cell.verdict else ():
            matched.setdefault(id, []).append((cell, number))
    for replay in replays:
        if replay.state in ("mended", "not explained"):
            continue
        reason = fill(" ".join(replay.reason.split()), 96, initial_indent="    ", subsequent_indent="    ")
        severity = f" ({replay.severity})" if replay.severity else ""
        yield f"  {replay.id}{severity}: {replay.state}; {_met(matched.pop(replay.id, []))}\n    {replay.function}\n{reason}"
        yield from (f"    {link(source)}" for source in replay.links)
    yield from (f"  {id}: not replayed; {_met(met)}" for id, met in matched.items())


def _met(matches: list[tuple[Cell, int]]) -> str:
    """How often, and where, drawn examples matched an entry."""
    if not matches:
        return "met by no drawn example"
    subjects = ", ".join(dict.fromkeys(cell.item.subject for cell, _ in matches))
    clauses = len({cell.clause for cell, _ in matches})
    examples = sum(number for _, number in matches)
    return f"met by {plural(examples, 'example')} of {plural(clauses, 'clause')} in {subjects}"


def _about_transformers(cells: Iterable[Cell]) -> Iterator[str]:
    subjects: dict[str, list[str]] = {}
    for cell in cells:
        for finding in filter(_supported, cell.verdict.evidence if cell.verdict else ()):
            subjects.setdefault(f"{cell.clause}: {finding.difference.what}", []).append(cell.item.subject)
    yield from (f"  {what}, in {', '.join(of)}" for what, of in subjects.items())


def _supported(finding: Finding) -> bool:
    """Decoders are not meant to answer after pads on the right: that they do not is no news."""
    return finding.case.padding == "left" or finding.case.roles.encoder_layers > 0


def _undecided(cells: Iterable[Cell]) -> Iterator[str]:
    """By verdict, clause and method; one reason stands for all families, whose reasons differ by a class name at most."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.word in NO_DECISION_WORDS:
            groups.setdefault((cell.word, cell.clause, cell.method), []).append(cell)
    for (word, clause, _), group in sorted(groups.items()):
        why = shorten(group[0].reasons, 200, placeholder=" ...")
        yield f"  {word}: {clause} in {', '.join(cell.item.subject for cell in group)}" + (
            f"\n    {why}" if why else ""
        )


def _indented(text: str) -> str:
    return indent(text.strip(), "    ")
