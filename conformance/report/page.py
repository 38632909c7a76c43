"""A merged record as one HTML page: nothing is loaded, nothing runs, and every text is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from msgspec import Struct

from conformance.core.outcome import CONFORMS, INCOMPLETE, NOT_RUN, TABLE, title
from conformance.report import phrases as prose
from conformance.report.failures import Failure, Place
from conformance.report.finding import finding_text, link, repeat
from conformance.report.merged import NO_ITEM, Merged, Pair

FAILURES = 100
"""How many violations, and how many known failures, have their text in the page."""
REASONS = 100
"""How many reasons for no decision are in the page."""
TEXT = 2500
"""Characters of one text."""
ALSO = 3
"""How many further lines that repeat a violation are with it."""
SIZE = 1_950_000
"""Bytes of a page; the results of the oldest pairs, one by one, are left out where they do not fit."""
LINKS = 4000
"""How many letters are links to what they stand for."""

CLASSES = {TABLE[NOT_RUN].letter: "x", TABLE[INCOMPLETE].letter: "q", NO_ITEM: "x"}
"""The class of a letter that is none."""


Targets = dict[tuple[str, Place], str]


class Grid(Struct, frozen=True):
    """The results of one pair: for each clause of a chapter, its name and the cells of its row."""

    chapters: dict[str, list[tuple[str, Markup]]]


def page(merged: Merged) -> str:
    """The page. Less than 2 MB for 100,000 results; what is left out of it is said at its end."""
    environment = Environment(
        loader=PackageLoader("conformance.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(named=title, css=css, address=_address, clip=lambda said: prose.clip(said, TEXT))
    environment.globals.update(prose=prose, text=finding_text, repeats=_repeats)
    template, told = environment.get_template("page.html.jinja"), _context(merged)
    rest = template.render(told, grids={}, left_out=list(_left_out(merged, 0)))
    grids = _grids(merged, SIZE - len(rest.encode()))
    return template.render(told, grids=grids, left_out=list(_left_out(merged, len(grids))))


def _context(merged: Merged) -> dict[str, Any]:
    """What the template shows, but for the results one by one."""
    return {
        "merged": merged,
        "answer": prose.usable_versions(merged),
        "words": merged.by_word(),
        "pefts": merged.releases("peft"),
        "transformers": merged.releases("transformers"),
        "places": merged.places(),
        "failures": merged.failures[:FAILURES],
        "known": merged.known[:FAILURES],
        "reasons": merged.undecided[:REASONS],
        "mine": _by_pair(merged),
        "legend": [("" if row.text == INCOMPLETE else row.letter, row.text, row.meaning) for row in TABLE.values()],
        "common": (common := _common(merged)),
        "own": [{name: pair.facts[name] for name in pair.facts if name not in common} for pair in merged.pairs],
        "NOT_RUN": NOT_RUN,
    }


def css(word: str) -> str:
    """The class of what ``word`` is said of."""
    return CLASSES.get(TABLE[word].letter, TABLE[word].letter)


def _common(merged: Merged) -> dict[str, tuple[str, ...]]:
    """What all pairs have in common, which is said once."""
    all_of = [pair.facts for pair in merged.pairs]
    first = all_of[0] if all_of else {}
    return {name: values for name, values in first.items() if all(facts.get(name) == values for facts in all_of)}


def _address(source: str) -> str:
    """``source`` as the address of a page, or nothing if it is none."""
    address = link(source)
    return address if address.startswith(("https://", "http://")) else ""


def _repeats(failure: Failure) -> list[str]:
    return [repeat(finding) for finding in failure.also[:ALSO]]


def _by_pair(merged: Merged) -> dict[int, list[tuple[int, Failure]]]:
    """Which of the failures that are told each pair has."""
    found: dict[int, list[tuple[int, Failure]]] = {}
    for number, failure in enumerate(merged.failures[:FAILURES], 1):
        for pair in dict.fromkeys(place.pair for place in failure.at):
            found.setdefault(pair, []).append((number, failure))
    return found


def _targets(merged: Merged) -> Targets:
    """Where in the page the text about a letter is, for as many letters as may be links."""
    told = [("V", f"f{number}", one.at) for number, one in enumerate(merged.failures[:FAILURES], 1)]
    told += [("K", f"k{number}", one.at) for number, one in enumerate(merged.known[:FAILURES], 1)]
    found: Targets = {}
    for letter, target, places in told:
        for place in places:
            if len(found) < LINKS:
                found.setdefault((letter, place), target)
    return found


def _grids(merged: Merged, size: int) -> dict[int, Grid]:
    """The results of each pair, those of the newest first, as many as fit into ``size`` bytes."""
    targets, grids, used = _targets(merged), {}, 0
    for place, pair in enumerate(merged.pairs):
        if pair.rows:
            grid = _grid(place, pair, merged.families, targets)
            used += _bytes(grid, merged.families)
            if used > size:
                break
            grids[place] = grid
    return grids


def _bytes(grid: Grid, families: tuple[str, ...]) -> int:
    """No less than ``grid`` takes in the page: its cells, its headers with their elements, and what is around it."""
    names = sum(map(_length, families)) + sum(map(_length, grid.chapters))
    rows = [_length(name) + len(cells) for rows in grid.chapters.values() for name, cells in rows]
    return sum(rows) + 18 * len(rows) + names + 14 * len(families) + 50 * len(grid.chapters) + 180


def _length(text: str) -> int:
    return len(escape(text).encode())


def _grid(place: int, pair: Pair, families: tuple[str, ...], targets: Targets) -> Grid:
    chapters: dict[str, list[tuple[str, Markup]]] = {}
    for clause, letters in pair.rows.items():
        cells = "".join(
            _cell(letter, targets.get((letter, Place(place, clause, family)), ""))
            for family, letter in zip(families, letters, strict=True)
        )
        chapter, _, name = clause.partition(".")
        chapters.setdefault(chapter, []).append((name, Markup(cells)))
    return Grid(chapters)


def _cell(letter: str, target: str) -> str:
    """One result: few bytes, since there are many. Letters and targets are ours."""
    if letter == TABLE[CONFORMS].letter:
        return "<td>c"
    shown = f"<a href=#{target}>{letter}</a>" if target else letter
    return f"<td class={CLASSES.get(letter, letter)}>{shown}"


def _left_out(merged: Merged, grids: int) -> Iterator[str]:
    """What the record has and the page has not."""
    for what, count, most in (
        ("violation", len(merged.failures), FAILURES),
        ("known failure", len(merged.known), FAILURES),
        ("reason for no decision", len(merged.undecided), REASONS),
    ):
        if count > most:
            yield f"{what}: {count - most} of {count}"
    missing = sum(bool(pair.rows) for pair in merged.pairs) - grids
    if missing:
        yield f"the results, one by one, of {prose.plural(missing, 'pair')}: those of the oldest"
    results = sum(len(one.at) for one in merged.failures) + sum(len(one.at) for one in merged.known)
    if results > LINKS:
        yield f"links from {results - LINKS} of {results} letters to what they stand for"
    yield "what the base model alone gets wrong, and how long it took"
