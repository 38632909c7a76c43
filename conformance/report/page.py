"""A merged record as one HTML page: nothing is loaded, nothing runs, and every text is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from conformance.report import prose
from conformance.report.failures import Failure, Place
from conformance.report.finding import link, repeat, text
from conformance.report.merged import NO_ITEM, Merged, Pair
from conformance.report.words import CONFORMS, INCOMPLETE, LETTERS, MEANINGS, NOT_RUN, title

FAILURES = 100
"""How many violations, and how many known failures, have their text in the page."""
REASONS = 100
"""How many reasons for no decision are in the page."""
TEXT = 4000
"""Characters of one text."""
ALSO = 5
"""How many further lines that repeat a violation are with it."""
RESULTS = 120_000
"""How many results have a letter in the page."""
LINKS = 4000
"""How many letters are links to what they stand for."""

CLASSES = {LETTERS[NOT_RUN]: "x", LETTERS[INCOMPLETE]: "q", NO_ITEM: "x"}
"""The class of a letter that is none."""


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
    environment.globals.update(prose=prose, text=text, repeats=_repeats)
    grids = _grids(merged)
    return environment.get_template("page.html.jinja").render(
        merged=merged,
        answer=prose.answer(merged),
        pefts=merged.releases("peft"),
        transformers=merged.releases("transformers"),
        places=merged.places(),
        failures=merged.failures[:FAILURES],
        known=merged.known[:FAILURES],
        reasons=merged.undecided[:REASONS],
        mine=_by_pair(merged),
        grids=grids,
        legend=[("" if word == INCOMPLETE else LETTERS[word], word, said) for word, said in MEANINGS.items()],
        left_out=list(_left_out(merged, grids)),
        NOT_RUN=NOT_RUN,
    )


def css(word: str) -> str:
    """The class of what ``word`` is said of."""
    return CLASSES.get(LETTERS[word], LETTERS[word])


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


def _targets(merged: Merged) -> dict[Place, str]:
    """Where in the page the text about a result is, for as many results as may be links."""
    told = [(f"f{number}", one.at) for number, one in enumerate(merged.failures[:FAILURES], 1)]
    told += [(f"k{number}", one.at) for number, one in enumerate(merged.known[:FAILURES], 1)]
    found: dict[Place, str] = {}
    for target, places in told:
        for place in places:
            if len(found) < LINKS:
                found.setdefault(place, target)
    return found


def _grids(merged: Merged) -> dict[int, Grid]:
    """The results of each pair, those of the newest first, as many as fit."""
    targets, grids, used = _targets(merged), {}, 0
    for place, pair in enumerate(merged.pairs):
        used += sum(map(len, pair.rows.values()))
        if used > RESULTS:
            break
        if pair.rows:
            grids[place] = _grid(place, pair, merged.families, targets)
    return grids


def _grid(place: int, pair: Pair, families: tuple[str, ...], targets: dict[Place, str]) -> Grid:
    chapters: dict[str, list[tuple[str, Markup]]] = {}
    for clause, letters in pair.rows.items():
        cells = "".join(
            _cell(letter, targets.get(Place(place, clause, family), "") if letter in "VK" else "")
            for family, letter in zip(families, letters, strict=True)
        )
        chapter, _, name = clause.partition(".")
        chapters.setdefault(chapter, []).append((name, Markup(cells)))
    return Grid(chapters)


def _cell(letter: str, target: str) -> str:
    """One result: few bytes, since there are many. Letters and targets are ours."""
    if letter == LETTERS[CONFORMS]:
        return "<td>c"
    shown = f"<a href=#{target}>{letter}</a>" if target else letter
    return f"<td class={CLASSES.get(letter, letter)}>{shown}"


def _left_out(merged: Merged, grids: dict[int, Grid]) -> Iterator[str]:
    """What the record has and the page has not."""
    for what, count, most in (
        ("violation", len(merged.failures), FAILURES),
        ("known failure", len(merged.known), FAILURES),
        ("reason for no decision", len(merged.undecided), REASONS),
    ):
        if count > most:
            yield f"{what}: {count - most} of {count}"
    missing = sum(bool(pair.rows) for pair in merged.pairs) - len(grids)
    if missing:
        yield f"the results, one by one, of {prose.many(missing, 'pair')}: those of the oldest"
    results = sum(len(one.at) for one in merged.failures) + sum(len(one.at) for one in merged.known)
    if results > LINKS:
        yield f"links from {results - LINKS} of {results} letters to what they stand for"
    yield "what the base model alone gets wrong, and how long it took"
