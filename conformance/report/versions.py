"""A merged record as the page of versions, docs/versions.md."""

from __future__ import annotations

from collections.abc import Collection

from markupsafe import Markup

from conformance.core.outcome import BROKEN, CONFORMS, KNOWN, NOT_RUN, TABLE, VIOLATES
from conformance.report.markdown import inline, markdown
from conformance.report.merged import Merged, PairReport

COMMAND = "peft-conformance report versions FILES... --out docs/versions.md"
DECIDED = (CONFORMS, KNOWN, VIOLATES)
"""The words that have a column of families."""
NO_VERDICT = "-"


def versions_page(merged: Merged) -> str:
    """The page that a user came for: one word for each pair, which families conform, and what is violated."""
    return markdown(
        "versions.md.jinja",
        merged=merged,
        command=COMMAND,
        decided=DECIDED,
        no_verdict=_no_verdict,
        chapters=sorted({clause.partition(".")[0] for clause in merged.clauses}),
        chapter_cell=_chapter_cell,
        settings=_settings(merged),
    )


def _no_verdict(report: PairReport) -> str:
    """The families that have another word, or why there are none."""
    others = [f"{word}: {', '.join(of)}" for word, of in report.subjects.items() if word not in DECIDED]
    return "; ".join(others) or (f"{report.word}: {'; '.join(report.why)}" if report.why else "")


def _chapter_cell(merged: Merged, report: PairReport, chapter: str) -> str:
    """The families in which a claim of ``chapter`` is violated, in bold; in brackets, those in which all of it is known."""
    rows = [row for clause, row in report.rows.items() if clause.partition(".")[0] == chapter]
    of = {subject: {row[place] for row in rows} for place, subject in enumerate(merged.subjects)}
    violated, known, decided = (_having(of, words) for words in ((VIOLATES,), (KNOWN,), DECIDED))
    known = [subject for subject in known if subject not in violated]
    lacking = not report.finished or _having(of, (BROKEN, NOT_RUN))
    among = () if lacking else decided
    cell = [f"**{_those(violated, among)}**"] if violated else []
    cell += [f"({_those(known, among)})"] if known else []
    return Markup(" ".join(cell)) or (NO_VERDICT if lacking or not decided else CONFORMS)


def _having(letters: dict[str, set[str]], words: Collection[str]) -> list[str]:
    """The subjects with one of ``words`` among their letters."""
    wanted = {TABLE[word].letter for word in words}
    return [subject for subject, own in letters.items() if own & wanted]


def _those(subjects: list[str], among: Collection[str]) -> str:
    """``subjects`` by name, or by those of ``among`` that are missing if that is shorter."""
    others = [subject for subject in among if subject not in subjects]
    if not among or len(subjects) <= len(others):
        return inline(", ".join(subjects))
    return inline(f"all but {', '.join(others)}" if others else "all")


def _settings(merged: Merged) -> str:
    """What was judged with, and how thoroughly."""
    every = {
        name: sorted({value for report in merged.pairs for value in report.facts.get(name, ())})
        for name in ("peft-conformance", "profile", "torch", "python")
    }
    return "; ".join(f"{name} {', '.join(values)}" for name, values in every.items() if values)
