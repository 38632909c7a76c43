"""Sentences about a merged record, the same in every report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conformance.core.outcome import CONFORMS, NOT_RUN
from conformance.report.failures import KnownFailureReport, Place
from conformance.report.merged import Merged, PairReport
from conformance.report.phrases import names, plural

PAIRS = 12
"""How many pairs a sentence names."""
IN_PROSE = {"mended": "fixed"}
"""States of a replay that are called something else where people read them."""


def pair_names(reports: Sequence[PairReport]) -> str:
    """``PEFT 0.21.2 with transformers 5.23.0, 5.22.0; PEFT 0.20.0 with transformers 5.22.0``."""
    by_peft: dict[str, list[str]] = {}
    for report in reports[:PAIRS]:
        by_peft.setdefault(report.pair.peft, []).append(report.pair.transformers)
    text = "; ".join(f"PEFT {peft} with transformers {', '.join(others)}" for peft, others in by_peft.items())
    return text + (f"; and {plural(len(reports) - PAIRS, 'more pair')}" if len(reports) > PAIRS else "")


def usable_versions(merged: Merged) -> list[tuple[str, str]]:
    """Which versions can be used: for each word its pairs, the most useful word first, the newest pair first."""
    answer = [(word, pair_names(reports)) for word, reports in merged.by_word().items()]
    nothing = [(CONFORMS, "none of the pairs")]
    return answer if answer and answer[0][0] == CONFORMS else nothing + answer


def pairs_of(places: Iterable[Place], merged: Merged) -> str:
    """The pairs of ``places``."""
    return pair_names([merged.pairs[place] for place in sorted({place.pair for place in places})])


def found_in(places: Sequence[Place], merged: Merged) -> str:
    """The families of ``places``, or the items if they are of several clauses, and the pairs."""
    several = len({place.item.clause for place in places}) > 1
    subjects = sorted({str(place.item) if several else place.item.subject for place in places})
    return f"{names(subjects)}; {pairs_of(places, merged)}"


def replayed_as(known: KnownFailureReport) -> str:
    """What the replays of a known failure said."""
    return ", ".join(IN_PROSE.get(state, state) for state in known.states) or "not replayed"


def replayed_where(known: KnownFailureReport, merged: Merged) -> list[str]:
    """What the replays of a known failure said, and of which pairs."""
    states = [
        f"{IN_PROSE.get(state, state)}: {pair_names([merged.pairs[place] for place in places])}"
        for state, places in known.states.items()
    ]
    return states or ["not replayed"]


def met_by(known: KnownFailureReport) -> str:
    """In which results a known failure was met."""
    if not known.at:
        return "met by no drawn example"
    return f"met by {plural(len(known.at), 'result')}: {names(place.item for place in known.at)}"


def totals(merged: Merged) -> str:
    """How much was merged."""
    results = sum(number for pair in merged.pairs for word, number in pair.counts.items() if word != NOT_RUN)
    counts = {"pair": len(merged.pairs), "result": results, "violation": len(merged.failures)}
    return ", ".join(plural(count, what) for what, count in counts.items())


def every_note(merged: Merged) -> list[str]:
    """What is missing or contradictory, and why pairs are impossible."""
    pairs = [f"{report.name}: {note}" for report in merged.pairs for note in (*report.notes, *report.why)]
    return [*merged.notes, *pairs]
