"""Phrases that all reports share. What they say of a merged record is in :mod:`conformance.report.sentences`."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.core.outcome import BROKEN, CONFORMS, KNOWN, NOT_RUN, VIOLATES

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


def names(everything: Iterable[object], most: int = NAMES) -> str:
    """Names, separated by commas, each once; of too many the first."""
    once = list(dict.fromkeys(map(str, everything)))
    more = f" and {len(once) - most} more" if len(once) > most else ""
    return ", ".join(once[:most]) + more


def counted(counts: dict[str, int]) -> str:
    """``3 violates, 200 conforms``."""
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def decided(counts: dict[str, int]) -> str:
    """What the reader of a table must know: ``3 violates, 200 conforms of 290``."""
    shown = {word: counts[word] for word in (BROKEN, VIOLATES, KNOWN, CONFORMS, NOT_RUN) if word in counts}
    return f"{counted(shown) or 0} of {sum(counts.values())}" if counts else ""
