"""A run held against its own header and footer: what in it cannot have been written by a run, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

from conformance.core.finding import DEFAULT_METHOD, Cell, Item
from conformance.core.outcome import NOT_RUN, WORDS, Outcome, State
from conformance.session.events import Footer, Header, Run
from conformance.session.exit_codes import counts, exit_code

NAMED = 3
"""How many items a problem names."""
REPLAY = "known failure "
"""How the footer counts a replay: behind this word, its state."""
INCOMPLETE_CODE = 3


def contradictions(run: Run) -> Iterator[str]:
    """Everything in ``run`` that contradicts the rest of it."""
    for cell in run.cells:
        yield from (f"{cell.item} {problem}" for problem in _in_cell(cell))
    yield from _against_header(run)
    if run.footer:
        yield from _against_footer(run, run.footer)


def results_of(run: Run) -> dict[str, int]:
    """How many items ended how, and how many replays, as the footer says it."""
    return {**counts(run.cells), **Counter(f"{REPLAY}{replay.state}" for replay in run.known)}


def named_items(header: Header) -> set[str]:
    """The items that ``header`` says are to be judged, and, in files that name them, the known failures to be replayed."""
    if header.items is not None:
        return set(header.items)
    methods = header.methods or (DEFAULT_METHOD,)
    return {str(Item(*names)) for names in product(header.clauses, header.families, methods)}


def _in_cell(cell: Cell) -> Iterator[str]:
    verdict, judged = cell.verdict, cell.state is State.JUDGED
    if judged != (verdict is not None):
        yield "is called judged, but has no verdict" if judged else f"is called {cell.state.value}, but has a verdict"
    if verdict is None:
        return
    violates, finding = verdict.outcome is Outcome.VIOLATES, verdict.finding
    if finding and not violates:
        yield f"{verdict.outcome.value}, but has a violation"
    if finding and finding.item != cell.item:
        yield f"has a violation of {finding.item}"
    if violates and not finding and not verdict.known:
        yield "violates, but has neither a violation nor a known failure"
    if verdict.outcome is Outcome.CONFORMS and verdict.decisive < 1:
        yield "conforms, but no example decided anything"


def _against_header(run: Run) -> Iterator[str]:
    named, every = named_items(run.header), Counter(str(cell.item) for cell in run.cells)
    replays = Counter(replay.item for replay in run.known)
    for item, number in (every + replays).items():
        if number > 1:
            yield f"{item} has {number} results"
    listed = every + replays if run.header.items is not None else every
    yield from _about(listed.keys() - named, "the header does not name, but that have a result")
    if run.footer:
        yield from _about(run.running, "began and have no result, though the run finished")
        yield from _about(named - listed.keys(), "the header names, but that have no result, though the run finished")


def _about(items: Iterable[str], what: str) -> Iterator[str]:
    first = sorted(items)
    if first:
        more = f" and {len(first) - NAMED} more" if len(first) > NAMED else ""
        yield f"there are items that {what}: {', '.join(first[:NAMED])}{more}"


def _against_footer(run: Run, footer: Footer) -> Iterator[str]:
    found = results_of(run)
    for word in (*WORDS, *(word for word in footer.counts if word not in WORDS)):
        said, there = footer.counts.get(word, 0), found.get(word, 0)
        if said != there:
            yield f"the footer counts {said} {word}, and there are {there}"
    code = exit_code(run.cells, run.known, complete=True, short=footer.short)
    left = any(cell.word == NOT_RUN for cell in run.cells) or any(replay.state == NOT_RUN for replay in run.known)
    # Until schema 3 what a requested time left out changed nothing.
    allowed = {code} | ({INCOMPLETE_CODE} if left else set()) | ({0} if left and run.header.items is None else set())
    if footer.exit_code not in allowed:
        yield f"the footer says exit code {footer.exit_code}, and the results add up to {code}"
