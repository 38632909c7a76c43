"""A merged record as the page of versions, docs/versions.md."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from conformance.core.outcome import BROKEN, CONFORMS, KNOWN, NOT_RUN, TABLE, VIOLATES, title
from conformance.report import phrases as prose
from conformance.report.markdown import bullets, by_release, in_a_word, inline, legend, notes, page, table
from conformance.report.merged import Merged, Pair

COMMAND = "peft-conformance report versions FILES... --out docs/versions.md"
SHOWN = (VIOLATES, KNOWN)
NO_VERDICT = "-"


def versions(merged: Merged) -> str:
    """The page that a user came for: one word for each pair, which families conform, and what is violated."""
    return page(_versions(merged))


def _versions(merged: Merged) -> Iterator[str]:
    yield f"<!-- Made by `{COMMAND}`: do not edit. -->"
    yield "# Versions"
    yield "Which PEFT answers rightly with prefixes, with which transformers? One word for each pair that was judged."
    yield bullets(f"**{title(word)}**: {inline(said)}" for word, said in prose.usable_versions(merged))
    yield by_release(merged, in_a_word)
    yield "## Families"
    yield "A family conforms if no claim about it is violated, known failures included."
    yield _families(merged)
    yield "## Chapters"
    yield "In which families a claim of the chapter is violated; in brackets, those in which all that is violated is known."
    yield _chapters(merged)
    yield legend(merged)
    yield notes(merged)
    told = [f"{name} {', '.join(values)}" for name, values in _common(merged).items()]
    yield f"Judged with {inline('; '.join(told))}." if told else ""
    yield f"This page is made from the events of runs: `{COMMAND}`."


def _families(merged: Merged) -> str:
    rows = []
    for pair in merged.pairs:
        other = [(word, names) for word, names in pair.families.items() if word not in (CONFORMS, KNOWN, VIOLATES)]
        rest = "; ".join(f"{word}: {inline(', '.join(names))}" for word, names in other)
        why = inline("; ".join(pair.why))
        columns = [inline(", ".join(pair.families.get(word, ()))) for word in (CONFORMS, KNOWN, VIOLATES)]
        rows.append(
            [inline(pair.peft), inline(pair.transformers), *columns, rest or (f"{pair.word}: {why}" if why else "")]
        )
    return table(["PEFT", "transformers", "conform", "known failures", "violated", "no verdict"], rows)


def _chapters(merged: Merged) -> str:
    chapters = sorted({clause.partition(".")[0] for clause in merged.clauses})
    rows = []
    for pair in merged.pairs:
        rows.append(
            [inline(pair.peft), inline(pair.transformers), *(_chapter(merged, pair, name) for name in chapters)]
        )
    return table(["PEFT", "transformers", *map(inline, chapters)], rows)


def _chapter(merged: Merged, pair: Pair, name: str) -> str:
    letters = [row for clause, row in pair.rows.items() if clause.partition(".")[0] == name]
    of = {family: {row[place] for row in letters} for place, family in enumerate(merged.families)}
    decided = [family for family in of if of[family] & {TABLE[word].letter for word in (CONFORMS, *SHOWN)}]
    violated, known = ([family for family in of if TABLE[word].letter in of[family]] for word in SHOWN)
    known = [family for family in known if family not in violated]
    lacking = not pair.finished or any(
        TABLE[word].letter in found for found in of.values() for word in (BROKEN, NOT_RUN)
    )
    among = () if lacking else decided
    told = [f"**{_those(violated, among)}**"] if violated else []
    told += [f"({_those(known, among)})"] if known else []
    return " ".join(told) or (NO_VERDICT if lacking or not decided else CONFORMS)


def _those(families: list[str], among: Collection[str]) -> str:
    """``families`` by name, or by those of ``among`` that are missing if that is shorter."""
    others = [family for family in among if family not in families]
    if not among or len(families) <= len(others):
        return inline(", ".join(families))
    return inline(f"all but {', '.join(others)}" if others else "all")


def _common(merged: Merged) -> dict[str, list[str]]:
    """What was judged with, and how thoroughly."""
    found: dict[str, set[str]] = {}
    for pair in merged.pairs:
        for name in ("peft-conformance", "profile", "torch", "python"):
            found.setdefault(name, set()).update(pair.facts.get(name, ()))
    return {name: sorted(values) for name, values in found.items() if values}
