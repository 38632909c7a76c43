"""The end of a run on a terminal: the table, what was found, what is known, what was left out, and one closing line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import fill, shorten

from rich.console import Console
from rich.text import Text

from conformance.core.finding import Cell, Finding
from conformance.core.outcome import KNOWN, WORDS, How, Outcome
from conformance.report import finding as findings
from conformance.report.table import STYLES, matrix
from conformance.session.events import Replayed, Run
from conformance.session.exit_codes import MEANING, exit_code

UNDECIDED = WORDS[WORDS.index(Outcome.CONFORMS.value) + 1 :]


def show(run: Run, console: Console) -> None:
    """Print all of it."""
    if run.cells:
        console.print(matrix(run.cells))
    for lane, chapters in _lanes(run.cells).items():
        console.print(f"{', '.join(chapters)}: on {lane}", style="dim", markup=False)
    for title, lines, style in _sections(run):
        console.print()
        console.print(Text(title, style=style))
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    code = code_of(run)
    console.print(Text(closing(run), style="bold " + ("green" if code == 0 else "red")), soft_wrap=True)


def _lanes(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """Which chapters were judged on which devices, where it was not simply the CPU."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        chapter = cell.clause.partition(".")[0]
        if cell.lane and chapter not in found.setdefault(cell.lane, []):
            found[cell.lane].append(chapter)
    return found


def code_of(run: Run) -> int:
    """The exit code of ``run``: its footer's, and 3 for one that has none."""
    return run.footer.exit_code if run.footer else exit_code(run.cells, run.known, complete=False)


def closing(run: Run) -> str:
    """The verdict in words, with the exit code and what it means."""
    versions = run.header.versions
    judged = " x ".join(f"{name} {versions[name]}" for name in ("peft", "transformers") if name in versions)
    code = code_of(run)
    if run.footer is None:
        at = f", stopped at {', '.join(run.running)}" if run.running else ""
        said = f"this run is incomplete{at}: it proves nothing"
    else:
        gravest_first = sorted(run.footer.counts.items(), key=lambda count: _gravity(count[0]))
        said = ", ".join(f"{number} {name}" for name, number in gravest_first) or "no item"
        said += f" in {run.footer.seconds:.0f} s"
    return f"{judged}: {said}. Exit code {code}: {MEANING[code]}."


def _gravity(name: str) -> tuple[int, str]:
    return (WORDS.index(name) if name in WORDS else len(WORDS), name)


Section = tuple[str, list[str], str]


def _sections(run: Run) -> Iterator[Section]:
    broken = [cell for cell in run.cells if cell.word == Outcome.BROKEN.value]
    if broken:
        yield (
            "Broken harness",
            [f"  {cell.item}\n{_indented(cell.reasons)}" for cell in broken],
            STYLES["broken harness"],
        )
    yield from _violations(run.cells)
    lost = [replay for replay in run.known if replay.state == "broken harness"]
    if lost:
        yield (
            "Broken replays",
            [f"  {replay.item}\n{_indented(replay.why)}" for replay in lost],
            STYLES["broken harness"],
        )
    mended = [f"  {replay.id}: {replay.why}; remove the entry" for replay in run.known if replay.state == "mended"]
    if mended:
        yield "Known failures that no longer fail", mended, STYLES[Outcome.VIOLATES.value]
    known = list(_known(run.cells, run.known))
    if known:
        yield "Known failures", known, STYLES[KNOWN]
    base = list(_about_transformers(run.cells))
    if base:
        yield "The base model alone fails too (about transformers, not judged)", base, ""
    left_out = list(_left_out(run.cells))
    if left_out:
        yield "Not decided", left_out, "dim"


def _violations(cells: Iterable[Cell]) -> Iterator[Section]:
    """One section per kind: the first in full, the others by what repeats them."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for cell in cells:
        finding = cell.verdict.finding if cell.verdict and cell.word == Outcome.VIOLATES.value else None
        if finding:
            groups.setdefault(_kind(finding), []).append(finding)
    for number, group in enumerate(groups.values(), 1):
        also = [f"  also {_elsewhere(finding, group[0])}: {findings.repeat(finding)}" for finding in group[1:]]
        yield (
            f"Violation {number} of {len(groups)}",
            [findings.finding_text(group[0]), *also],
            STYLES[Outcome.VIOLATES.value],
        )


def _kind(finding: Finding) -> tuple[str, ...]:
    """What makes two violations one: a crash at one place is the same crash, whichever clause met it."""
    crash = finding.how is How.CRASH and finding.where
    return (finding.how.value, finding.where) if crash else (finding.clause, finding.how.value, finding.where)


def _elsewhere(finding: Finding, first: Finding) -> str:
    return f"in {finding.family}" if finding.clause == first.clause else f"as {finding.clause}[{finding.family}]"


def _known(cells: Iterable[Cell], replays: Iterable[Replayed]) -> Iterator[str]:
    matched: dict[str, list[tuple[Cell, int]]] = {}
    for cell in cells:
        for id, number in cell.verdict.known.items() if cell.verdict else ():
            matched.setdefault(id, []).append((cell, number))
    for replay in replays:
        if replay.state == "mended":
            continue
        reason = fill(" ".join(replay.reason.split()), 96, initial_indent="    ", subsequent_indent="    ")
        yield f"  {replay.id}: {replay.state}; {_met(matched.pop(replay.id, []))}\n    {replay.function}\n{reason}"
        yield from (f"    {findings.link(link)}" for link in replay.links)
    yield from (f"  {id}: not replayed; {_met(met)}" for id, met in matched.items())


def _met(matches: list[tuple[Cell, int]]) -> str:
    """How often, and where, drawn examples matched an entry."""
    if not matches:
        return "met by no drawn example"
    families = ", ".join(dict.fromkeys(cell.family for cell, _ in matches))
    clauses = len({cell.clause for cell, _ in matches})
    examples = sum(number for _, number in matches)
    return f"met by {_many(examples, 'example')} of {_many(clauses, 'clause')} in {families}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _about_transformers(cells: Iterable[Cell]) -> Iterator[str]:
    seen: dict[str, list[str]] = {}
    for cell in cells:
        for finding in filter(_supported, cell.verdict.evidence if cell.verdict else ()):
            seen.setdefault(f"{cell.clause}: {finding.difference.what}", []).append(cell.family)
    yield from (f"  {what}, in {', '.join(families)}" for what, families in seen.items())


def _supported(finding: Finding) -> bool:
    """Decoders are not meant to answer after pads on the right: that they do not is no news."""
    return finding.case.padding == "left" or finding.case.roles.encoder_layers > 0


def _left_out(cells: Iterable[Cell]) -> Iterator[str]:
    """By clause and verdict; one reason stands for all families, whose reasons differ by a class name or not at all."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.word in UNDECIDED:
            grouped.setdefault((cell.word, cell.clause), []).append(cell)
    for (name, clause), group in sorted(grouped.items()):
        why = shorten(group[0].reasons, 200, placeholder=" ...")
        yield f"  {name}: {clause} in {', '.join(cell.family for cell in group)}" + (f"\n    {why}" if why else "")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())
