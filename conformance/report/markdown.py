"""A merged record as Markdown, for the summary of a job; and the pieces that any such page is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from conformance.core.outcome import BROKEN, INCOMPLETE, NOT_RUN, TABLE, VIOLATES, title
from conformance.report import phrases as prose
from conformance.report.failures import Failure
from conformance.report.finding import link, repeat
from conformance.report.merged import Merged, Pair

VIOLATIONS = 20
"""How many violations are told; and as many known failures and broken results."""
TEXT = 800
"""Characters of one text that are shown."""
LINE = 6000
"""Characters of a line that repeats a violation; a longer one is left out, since half of it repeats nothing."""
TABLE_SIZE = 300_000
"""Characters of a table. A summary that GitHub takes has less than 1 MiB."""
GRAVE = (BROKEN, INCOMPLETE, VIOLATES)


def summary(merged: Merged) -> str:
    """The summary of a job: which versions can be used, the table, the violations with a line that repeats each."""
    return page(_summary(merged))


def page(blocks: Iterable[str]) -> str:
    """The blocks that say something, as one page."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def _summary(merged: Merged) -> Iterator[str]:
    yield "# Which versions can I use?"
    yield bullets(f"**{title(word)}**: {inline(said)}" for word, said in prose.usable_versions(merged))
    yield by_release(merged, lambda pair: "<br>".join(filter(None, (in_a_word(pair), prose.decided(pair.counts)))))
    yield f"{prose.totals(merged)}."
    yield notes(merged)
    shown = list(enumerate(merged.failures, 1))[:VIOLATIONS]
    if shown:
        yield "## Violations"
    for number, failure in shown:
        yield _violation(number, failure, merged)
    yield _more(len(merged.failures), "violation")
    yield from _known(merged)
    yield from _broken(merged)
    yield legend(merged)


def in_a_word(pair: Pair) -> str:
    """The word of ``pair``, where a grave one stands out."""
    return f"**{pair.word}**" if pair.word in GRAVE else title(pair.word)


def by_release(merged: Merged, cell: Callable[[Pair], str]) -> str:
    """A table with a row for each transformers and a column for each PEFT; ``cell`` says what is in it."""
    places, pefts = merged.places(), merged.releases("peft")
    head = ["transformers", *(f"PEFT {inline(peft)}" for peft in pefts)]
    rows = []
    for other in merged.releases("transformers"):
        found = [places.get((peft, other)) for peft in pefts]
        rows.append([inline(other), *(NOT_RUN if place is None else cell(merged.pairs[place]) for place in found)])
    return table(head, rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Rows of Markdown, as many as may be in a page."""
    lines, used = [_row(head), "|---" * len(head) + "|"], 0
    for number, row in enumerate(rows):
        lines.append(_row(row))
        used += len(lines[-1].encode())
        if used > TABLE_SIZE:
            left = len(rows) - number
            return "\n".join(lines[:-1]) + f"\n\nLeft out, since the table would be too long: the last {left} rows."
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _violation(number: int, failure: Failure, merged: Merged) -> str:
    finding, difference = failure.finding, failure.finding.difference
    head = f"### {number}. {inline(finding.clause)}: {finding.how.value} in {inline(finding.family)}"
    told = [
        inline(finding.statement),
        f"{inline(difference.what)}: got {inline(difference.got)}, expected {inline(difference.expected)}",
        f"blame: {finding.blame.value}" + (f", at {inline(finding.where)}" if finding.where else ""),
        f"in {prose.plural(len(failure.at), 'result')}: {inline(prose.where(failure.at, merged))}",
    ]
    return f"{head}\n\n{bullets(told)}\n\n{_code(repeat(finding))}"


def _known(merged: Merged) -> Iterator[str]:
    if merged.known:
        yield "## Known failures"
    for known in merged.known[:VIOLATIONS]:
        told = [*prose.states(known, merged), prose.met(known), known.function, prose.clip(known.reason, TEXT)]
        lines = [inline(line) for line in (*told, *known.why, *map(link, known.links)) if line]
        yield f"**{inline(known.id)}**\n\n{bullets(lines)}"
    yield _more(len(merged.known), "known failure")


def _broken(merged: Merged) -> Iterator[str]:
    broken = [reason for reason in merged.undecided if reason.word == BROKEN]
    if broken:
        yield "## Broken harness"
    told = [
        f"{prose.names(place.item for place in one.at)}; {prose.at(one.at, merged)}: {prose.clip(one.text, TEXT)}"
        for one in broken[:VIOLATIONS]
    ]
    yield bullets(map(escape, told))
    yield _more(len(broken), "broken result")


def notes(merged: Merged) -> str:
    """What is missing or contradictory, or why a pair is impossible."""
    said = [*merged.notes, *(f"{pair.name}: {note}" for pair in merged.pairs for note in (*pair.notes, *pair.why))]
    shown = [inline(note) for note in said[: 2 * VIOLATIONS]]
    left = [f"and {len(said) - len(shown)} more such notes"] if len(said) > len(shown) else []
    return bullets([*shown, *left])


def legend(merged: Merged) -> str:
    """What the words mean that occur."""
    used = {word for pair in merged.pairs for word in (pair.word, *pair.counts, *pair.families)}
    return "## Words\n\n" + bullets(f"**{word}**: {row.meaning}" for word, row in TABLE.items() if word in used)


def _more(count: int, what: str) -> str:
    left = count - VIOLATIONS
    return f"Left out: {prose.plural(left, f'more {what}')}; the page and the events have them." if left > 0 else ""


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def _code(line: str) -> str:
    """``line`` in a fence that it cannot close."""
    if len(line) > LINE:
        return f"The line that repeats it has {len(line)} characters; the events have it."
    flat = " ".join(line.splitlines())
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", flat)), default=0))
    return f"{fence}\n{flat}\n{fence}"


def inline(text: str) -> str:
    """``text`` on one line, clipped, nothing in it being a mark."""
    return escape(prose.clip(text, TEXT))


def escape(text: str) -> str:
    """``text`` as Markdown shows it: on one line, nothing in it being a mark."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*\[<>|#~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", flat)
