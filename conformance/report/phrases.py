"""Phrases that every renderer of a merged record says alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conformance.core.outcome import BROKEN, CONFORMS, KNOWN, NOT_RUN, VIOLATES
from conformance.report.failures import Known, Place
from conformance.report.merged import Merged, Pair

PAIRS = 12
"""How many pairs a sentence names."""
NAMES = 8
"""How many families, clauses or items a sentence names."""


def clip(text: str, length: int) -> str:
    """``text``, or its beginning and how much of it is left out."""
    if len(text) <= length:
        return text
    return f"{text[:length]} ... ({len(text) - length} more characters are in the events)"


def plural(count: int, what: str) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def names(all_of: Iterable[str], most: int = NAMES) -> str:
    """Names, separated by commas, each once; of too many the first."""
    once = list(dict.fromkeys(all_of))
    more = f" and {len(once) - most} more" if len(once) > most else ""
    return ", ".join(once[:most]) + more


def counted(counts: dict[str, int]) -> str:
    """``3 violates, 200 conforms``."""
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def decided(counts: dict[str, int]) -> str:
    """What the reader of a table must know: ``3 violates, 200 conforms of 290``."""
    told = {name: counts[name] for name in (BROKEN, VIOLATES, KNOWN, CONFORMS, NOT_RUN) if name in counts}
    return f"{counted(told) or 0} of {sum(counts.values())}" if counts else ""


def pairs(chosen: Sequence[Pair]) -> str:
    """``PEFT 0.21.2 with transformers 5.23.0, 5.22.0; PEFT 0.20.0 with transformers 5.22.0``."""
    by_peft: dict[str, list[str]] = {}
    for pair in chosen[:PAIRS]:
        by_peft.setdefault(pair.peft, []).append(pair.transformers)
    said = "; ".join(f"PEFT {peft} with transformers {', '.join(others)}" for peft, others in by_peft.items())
    return said + (f"; and {plural(len(chosen) - PAIRS, 'more pair')}" if len(chosen) > PAIRS else "")


def usable_versions(merged: Merged) -> list[tuple[str, str]]:
    """Which versions can be used: for each word its pairs, the most useful word first, the newest pair first."""
    said = [(word, pairs(chosen)) for word, chosen in merged.by_word().items()]
    nothing = [(CONFORMS, "no pair does in everything that was judged")]
    return said if said and said[0][0] == CONFORMS else nothing + said


def where(places: Iterable[Place], merged: Merged) -> str:
    """The families of ``places``, or the items if they are of several clauses, and the pairs."""
    places = list(places)
    several = len({place.clause for place in places}) > 1
    return f"{names(sorted({place.item if several else place.family for place in places}))}; {at(places, merged)}"


def at(places: Iterable[Place], merged: Merged) -> str:
    """The pairs of ``places``."""
    return pairs([merged.pairs[place] for place in sorted({place.pair for place in places})])


def states(known: Known, merged: Merged) -> list[str]:
    """What the replays of a known failure said, and where."""
    said = [f"{state}: {pairs([merged.pairs[place] for place in places])}" for state, places in known.states.items()]
    return said or ["not replayed"]


def met(known: Known) -> str:
    """Which results a known failure was met in."""
    if not known.at:
        return "met by no drawn example"
    return f"met by {plural(len(known.at), 'result')}: {names(place.item for place in known.at)}"


def totals(merged: Merged) -> str:
    """How much was merged."""
    results = sum(number for pair in merged.pairs for word, number in pair.counts.items() if word != NOT_RUN)
    return ", ".join(
        (plural(len(merged.pairs), "pair"), plural(results, "result"), plural(len(merged.failures), "violation"))
    )
