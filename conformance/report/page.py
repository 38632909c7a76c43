"""A merged record as one HTML page: nothing is loaded, nothing runs, and every text is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from conformance.core.outcome import CONFORMS, INCOMPLETE, KNOWN, NOT_RUN, TABLE, VIOLATES
from conformance.report import phrases, sentences
from conformance.report.failures import Failure
from conformance.report.finding import finding_text, link, repeat
from conformance.report.merged import NO_ITEM, Merged, PairReport
from conformance.report.templating import templates

FAILURES = 100
"""How many violations, and how many known failures, have their text in the page."""
UNDECIDED = 100
"""How many reasons for no decision are in the page."""
TEXT = 2500
"""Characters of one text."""
MORE_LINES = 3
"""How many further lines that repeat a violation are with it."""
SIZE = 2_000_000
"""A page has fewer bytes; the single results of the oldest pairs are left out where they do not fit."""
CLASSES = {row.letter: row.css for row in TABLE.values()} | {NO_ITEM: TABLE[NOT_RUN].css}
"""The class of each letter."""

Targets = dict[tuple[str, str, str], str]
"""Where in the page the text is about a letter, by the letter, its clause and its subject."""


def html_page(merged: Merged) -> str:
    """The page. Less than 2 MB for 100,000 results; its end says what is left out."""
    pages = _environment()
    template, context = pages.get_template("page.html.jinja"), _context(merged)
    rest = template.render(context, grids={}, left_out=list(_left_out(merged, 0)))
    grids = _grids(pages, merged, SIZE - len(rest.encode()))
    return template.render(context, grids=grids, left_out=list(_left_out(merged, len(grids))))


def _environment() -> Environment:
    made = templates(keep_trailing_newline=True)
    made.filters.update(css=lambda word: TABLE[word].css, address=_address)
    made.filters.update(clip=lambda text: phrases.clip(text, TEXT), finding_text=finding_text)
    made.globals.update(repeats=_repeats)
    return made


def _context(merged: Merged) -> dict[str, Any]:
    """What the template shows, but for the results one by one."""
    common = _common(merged)
    return {
        "merged": merged,
        "answer": sentences.usable_versions(merged),
        "words": merged.by_word(),
        "failures": merged.failures[:FAILURES],
        "known": merged.known[:FAILURES],
        "reasons": merged.undecided[:UNDECIDED],
        "by_pair": _by_pair(merged),
        "legend": [("" if row.text == INCOMPLETE else row.letter, row.text, row.meaning) for row in TABLE.values()],
        "common": common,
        "own": [{name: pair.facts[name] for name in pair.facts if name not in common} for pair in merged.pairs],
        "NOT_RUN": NOT_RUN,
    }


def _common(merged: Merged) -> dict[str, tuple[str, ...]]:
    """What all pairs have in common, which is shown once."""
    all_of = [report.facts for report in merged.pairs]
    first = all_of[0] if all_of else {}
    return {name: values for name, values in first.items() if all(facts.get(name) == values for facts in all_of)}


def _address(source: str) -> str:
    """``source`` as the address of a page, or nothing if it is none."""
    address = link(source)
    return address if address.startswith(("https://", "http://")) else ""


def _repeats(failure: Failure) -> list[str]:
    return [repeat(finding) for finding in failure.also[:MORE_LINES]]


def _by_pair(merged: Merged) -> dict[int, list[tuple[int, Failure]]]:
    """Which of the failures that are shown each pair has."""
    by_pair: dict[int, list[tuple[int, Failure]]] = {}
    for number, failure in enumerate(merged.failures[:FAILURES], 1):
        for pair in dict.fromkeys(place.pair for place in failure.at):
            by_pair.setdefault(pair, []).append((number, failure))
    return by_pair


def _targets(merged: Merged) -> dict[int, Targets]:
    """Where the text about each letter is, for each pair."""
    texts = [(TABLE[VIOLATES].letter, f"f{number}", one.at) for number, one in enumerate(merged.failures[:FAILURES], 1)]
    texts += [(TABLE[KNOWN].letter, f"k{number}", one.at) for number, one in enumerate(merged.known[:FAILURES], 1)]
    targets: dict[int, Targets] = {}
    for letter, target, places in texts:
        for place in places:
            key = (letter, place.item.clause, place.item.subject)
            targets.setdefault(place.pair, {}).setdefault(key, target)
    return targets


def _grids(pages: Environment, merged: Merged, size: int) -> dict[int, Markup]:
    """The results of each pair, those of the newest first, as many as fit into fewer than ``size`` bytes."""
    template = pages.get_template("grid.html.jinja", globals={"CLASSES": CLASSES, "PLAIN": TABLE[CONFORMS].letter})
    targets, grids = _targets(merged), dict[int, Markup]()
    for place, report in enumerate(merged.pairs):
        if report.rows:
            chapters = _chapters(report, merged.subjects, targets.get(place, {}))
            grid = template.render(chapters=chapters, subjects=merged.subjects, finished=report.finished)
            size -= len(grid.encode())
            if size <= 0:
                break
            grids[place] = Markup(grid)
    return grids


def _chapters(
    report: PairReport, subjects: tuple[str, ...], targets: Targets
) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """For each clause of each chapter its letters, and where the text about each is, if there is any."""
    chapters: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for clause, letters in report.rows.items():
        cells = [(letter, targets.get((letter, clause, subjects[n]), "")) for n, letter in enumerate(letters)]
        chapter, _, name = clause.partition(".")
        chapters.setdefault(chapter, {})[name] = cells
    return chapters


def _left_out(merged: Merged, grids: int) -> Iterator[str]:
    """What the record has and the page has not."""
    for what, count, most in (
        ("violation", len(merged.failures), FAILURES),
        ("known failure", len(merged.known), FAILURES),
        ("reason for no decision", len(merged.undecided), UNDECIDED),
    ):
        if count > most:
            yield f"{what}: {count - most} of {count}"
    missing = sum(bool(report.rows) for report in merged.pairs) - grids
    if missing:
        yield f"the single results of {phrases.plural(missing, 'pair')}, the oldest"
    yield "what the base model alone gets wrong, and how long the runs took"
