"""A merged record as Markdown: for the summary of a job, and for docs/versions.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from conformance.report import prose
from conformance.report.failures import Failure
from conformance.report.finding import link, repeat
from conformance.report.merged import Merged, Pair
from conformance.report.words import BROKEN, CONFORMS, INCOMPLETE, MEANINGS, NOT_RUN, VIOLATES, title

VIOLATIONS = 20
"""How many violations are told; and as many known failures and broken results."""
TEXT = 800
"""Characters of one text that are shown."""
LINE = 6000
"""Characters of a line that repeats a violation; a longer one is left out, since half of it repeats nothing."""
TABLE = 400_000
"""Characters of a table. A summary that GitHub takes has less than 1 MiB."""
GRAVE = (BROKEN, INCOMPLETE, VIOLATES)
COMMAND = "peft-conformance report versions FILES... --out docs/versions.md"


def summary(merged: Merged) -> str:
    """The summary of a job: which versions can be used, the table, the violations with a line that repeats each."""
    return _page(_summary(merged))


def versions(merged: Merged) -> str:
    """The page that a user came for: one word for each pair, and which families conform."""
    return _page(_versions(merged))


def _page(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def _summary(merged: Merged) -> Iterator[str]:
    yield "# Which versions can I use?"
    yield _bullets(f"**{title(word)}**: {_told(said)}" for word, said in prose.answer(merged))
    yield _matrix(merged, lambda pair: "<br>".join(filter(None, (_word(pair), prose.decided(pair.counts)))))
    yield f"{prose.totals(merged)}."
    yield _notes(merged)
    shown = list(enumerate(merged.failures, 1))[:VIOLATIONS]
    if shown:
        yield "## Violations"
    for number, failure in shown:
        yield _violation(number, failure, merged)
    yield _more(len(merged.failures), "violation")
    yield from _known(merged)
    yield from _broken(merged)
    yield _legend(merged)


def _versions(merged: Merged) -> Iterator[str]:
    yield f"<!-- Made by `{COMMAND}`: do not edit. -->"
    yield "# Versions"
    yield "Which PEFT answers rightly with prefixes, with which transformers? One word for each pair that was judged."
    yield _bullets(f"**{title(word)}**: {_told(said)}" for word, said in prose.answer(merged))
    yield _matrix(merged, _word)
    yield "## Families"
    yield "A family conforms if no claim about it is violated, known failures included."
    yield _families(merged)
    yield _legend(merged)
    yield _notes(merged)
    told = [f"{name} {', '.join(values)}" for name, values in _common(merged).items()]
    yield f"Judged with {_told('; '.join(told))}." if told else ""
    yield f"This page is made from the events of runs: `{COMMAND}`."


def _word(pair: Pair) -> str:
    return f"**{pair.word}**" if pair.word in GRAVE else title(pair.word)


def _matrix(merged: Merged, cell: Callable[[Pair], str]) -> str:
    places, pefts = merged.places(), merged.releases("peft")
    head = ["transformers", *(f"PEFT {_told(peft)}" for peft in pefts)]
    rows = []
    for other in merged.releases("transformers"):
        found = [places.get((peft, other)) for peft in pefts]
        rows.append([_told(other), *(NOT_RUN if place is None else cell(merged.pairs[place]) for place in found)])
    return _table(head, rows)


def _families(merged: Merged) -> str:
    rows = []
    for pair in merged.pairs:
        other = [(word, names) for word, names in pair.families.items() if word not in (CONFORMS, "known", VIOLATES)]
        rest = "; ".join(f"{word}: {_told(', '.join(names))}" for word, names in other)
        why = _told("; ".join(pair.why))
        columns = [_told(", ".join(pair.families.get(word, ()))) for word in (CONFORMS, "known", VIOLATES)]
        rows.append(
            [_told(pair.peft), _told(pair.transformers), *columns, rest or (f"{pair.word}: {why}" if why else "")]
        )
    return _table(["PEFT", "transformers", "conform", "known failures", "violated", "no verdict"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines, used = [_row(head), "|---" * len(head) + "|"], 0
    for number, row in enumerate(rows):
        lines.append(_row(row))
        used += len(lines[-1].encode())
        if used > TABLE:
            left = len(rows) - number
            return "\n".join(lines[:-1]) + f"\n\nLeft out, since the table would be too long: the last {left} rows."
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _violation(number: int, failure: Failure, merged: Merged) -> str:
    finding, difference = failure.finding, failure.finding.difference
    head = f"### {number}. {_told(finding.clause)}: {finding.how.value} in {_told(finding.family)}"
    told = [
        _told(finding.statement),
        f"{_told(difference.what)}: got {_told(difference.got)}, expected {_told(difference.expected)}",
        f"blame: {finding.blame.value}" + (f", at {_told(finding.where)}" if finding.where else ""),
        f"in {prose.many(len(failure.at), 'result')}: {_told(prose.where(failure.at, merged))}",
    ]
    return f"{head}\n\n{_bullets(told)}\n\n{_code(repeat(finding))}"


def _known(merged: Merged) -> Iterator[str]:
    if merged.known:
        yield "## Known failures"
    for known in merged.known[:VIOLATIONS]:
        told = [*prose.states(known, merged), prose.met(known), known.function, prose.clip(known.reason, TEXT)]
        lines = [_told(line) for line in (*told, *known.why, *map(link, known.links)) if line]
        yield f"**{_told(known.id)}**\n\n{_bullets(lines)}"
    yield _more(len(merged.known), "known failure")


def _broken(merged: Merged) -> Iterator[str]:
    broken = [reason for reason in merged.undecided if reason.word == BROKEN]
    if broken:
        yield "## Broken harness"
    told = [
        f"{prose.names(place.item for place in one.at)}; {prose.at(one.at, merged)}: {prose.clip(one.text, TEXT)}"
        for one in broken[:VIOLATIONS]
    ]
    yield _bullets(map(escape, told))
    yield _more(len(broken), "broken result")


def _notes(merged: Merged) -> str:
    said = [*merged.notes, *(f"{pair.name}: {note}" for pair in merged.pairs for note in (*pair.notes, *pair.why))]
    shown = [_told(note) for note in said[: 2 * VIOLATIONS]]
    left = [f"and {len(said) - len(shown)} more such notes"] if len(said) > len(shown) else []
    return _bullets([*shown, *left])


def _legend(merged: Merged) -> str:
    used = {word for pair in merged.pairs for word in (pair.word, *pair.counts, *pair.families)}
    return "## Words\n\n" + _bullets(f"**{word}**: {said}" for word, said in MEANINGS.items() if word in used)


def _common(merged: Merged) -> dict[str, list[str]]:
    """What was judged with, and how thoroughly."""
    found: dict[str, set[str]] = {}
    for pair in merged.pairs:
        for name in ("peft-conformance", "profile", "torch", "python"):
            found.setdefault(name, set()).update(pair.facts.get(name, ()))
    return {name: sorted(values) for name, values in found.items() if values}


def _more(count: int, what: str) -> str:
    left = count - VIOLATIONS
    return f"Left out: {prose.many(left, f'more {what}')}; the page and the events have them." if left > 0 else ""


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _code(line: str) -> str:
    """``line`` in a fence that it cannot close."""
    if len(line) > LINE:
        return f"The line that repeats it has {len(line)} characters; the events have it."
    flat = " ".join(line.splitlines())
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", flat)), default=0))
    return f"{fence}\n{flat}\n{fence}"


def _told(text: str) -> str:
    return escape(prose.clip(text, TEXT))


def escape(text: str) -> str:
    """``text`` as Markdown shows it: on one line, nothing in it being a mark."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*\[<>|#~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", flat)
