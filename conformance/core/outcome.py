"""One word and one letter for many results: what is said of a pair of releases, and of a family in it."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.core.finding import Outcome, State
from conformance.session.exit_codes import KNOWN, WORDS

INCOMPLETE = "incomplete"
"""The word for what a run did not finish, or left out in part: it proves nothing, whatever the rest of it says."""
CONFORMS, VIOLATES, BROKEN = Outcome.CONFORMS.value, Outcome.VIOLATES.value, Outcome.BROKEN.value
ABSENT, IMPOSSIBLE, NOT_RUN = State.ABSENT.value, State.IMPOSSIBLE.value, State.NOT_RUN.value

PAIR_WORDS = (WORDS[0], INCOMPLETE, *WORDS[1:])
"""Every word for a pair, the gravest first: the order of the exit codes, where broken and incomplete hide what is red."""
FAMILY_WORDS = (*WORDS[:2], INCOMPLETE, *WORDS[2:])
"""Every word for a family in a pair: what an incomplete run did find stays found."""
USEFUL = (CONFORMS, KNOWN, VIOLATES, *(word for word in PAIR_WORDS if word not in (CONFORMS, KNOWN, VIOLATES)))
"""The words for a pair, as somebody reads them who is looking for one to use."""

LETTERS = {
    BROKEN: "B",
    VIOLATES: "V",
    KNOWN: "K",
    CONFORMS: "c",
    Outcome.REFUSED.value: "r",
    Outcome.UNDECIDED.value: "u",
    Outcome.NOT_APPLICABLE.value: "n",
    ABSENT: "a",
    IMPOSSIBLE: "i",
    NOT_RUN: "-",
    INCOMPLETE: "?",
}
"""The letter for a word; what is grave is in capitals."""

MEANINGS = {
    BROKEN: "the harness or its process failed, so this proves nothing",
    INCOMPLETE: "a run did not finish, or results are missing, so this proves nothing",
    VIOLATES: "a wrong answer or a crash, minimal and confirmed",
    KNOWN: "every violation that was met is a known failure, with a reason",
    CONFORMS: "enough examples decided, and the claim held in all of them; of a pair or family: nothing graver was found",
    Outcome.REFUSED.value: "what cannot work was refused in words",
    Outcome.UNDECIDED.value: "closer than the error of the computation",
    Outcome.NOT_APPLICABLE.value: "the claim says nothing here, or the base model alone fails too",
    ABSENT: "this version of transformers has no such class",
    IMPOSSIBLE: "these releases cannot be installed or imported together",
    NOT_RUN: "no file has this result",
}
"""What each word means, the gravest first."""


def title(word: str) -> str:
    """``word`` where it stands alone, for a pair or a family."""
    return "known failures" if word == KNOWN else word


def gravest(words: Iterable[str]) -> str:
    """The word for one result that several files have; not run if none has it."""
    return min(words, key=WORDS.index, default=NOT_RUN)


def summed(words: Iterable[str], *, finished: bool, order: tuple[str, ...] = PAIR_WORDS) -> str:
    """The one word for many results. It is no better than incomplete unless all were run, by runs that ``finished``."""
    found = set(words)
    if not finished or (NOT_RUN in found and found != {NOT_RUN}):
        found.add(INCOMPLETE)
    return min(found, key=order.index, default=NOT_RUN)
