"""The words for what was seen: of one example, of one item, and of many results. One table says all that follows from a word.

A new word is a member of :class:`Outcome` or :class:`State` and a row of :data:`TABLE`; colours, letters, exit codes and what
pytest makes of it are read from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Literal, NamedTuple


class Outcome(str, Enum):
    """What one example showed; also the verdict of an item, the gravest first.

    For an item, ``conforms`` needs enough decisive examples. With fewer it is ``undecided``, with none one of the last three.
    """

    BROKEN = "broken harness"
    VIOLATES = "violates"
    CONFORMS = "conforms"
    REFUSED = "refused"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"


class State(str, Enum):
    """Why an item has a verdict in one environment, or has none."""

    JUDGED = "judged"
    NOT_RUN = "not run"
    IMPOSSIBLE = "impossible"
    ABSENT = "absent"


class How(str, Enum):
    """How a clause was violated."""

    WRONG = "wrong answer"
    CRASH = "crash"


class Blame(str, Enum):
    """Who has to fix it. :mod:`conformance.engine.blame` decides, from evidence."""

    PEFT = "PEFT"
    TRANSFORMERS = "transformers"
    ACCELERATE = "accelerate"
    HARNESS = "this harness"


class Word(NamedTuple):
    """One word for a result, and all that follows from it.

    ``letter`` stands for it in dense tables (what is grave is in capitals), ``short`` in the terminal's table; ``style`` is
    its colour there and ``css`` its class in the page. ``code`` is the exit code of a run in which nothing graver was found,
    ``None`` for words that decide nothing. ``pytest`` is how an item with this word ends under pytest.
    """

    text: str
    letter: str
    meaning: str
    code: Literal[0, 1, 3] | None = None
    pytest: Literal["passed", "failed", "xfailed", "skipped", "error"] = "skipped"
    short: str = ""
    style: str = ""
    css: str = ""


KNOWN = "known"
"""The word for an item all of whose violations match known failures."""
INCOMPLETE = "incomplete"
"""The word for what a run did not finish, or left out in part: it proves nothing, whatever the rest of it says."""
CONFORMS, VIOLATES, BROKEN = Outcome.CONFORMS.value, Outcome.VIOLATES.value, Outcome.BROKEN.value
ABSENT, IMPOSSIBLE, NOT_RUN = State.ABSENT.value, State.IMPOSSIBLE.value, State.NOT_RUN.value

_ROWS = (
    Word(
        BROKEN, "B", "the harness or its process failed, so this proves nothing", 3, "error", "BROKEN", "bold magenta"
    ),
    Word(INCOMPLETE, "?", "a run did not finish, or results are missing, so this proves nothing", css="q"),
    Word(VIOLATES, "V", "a wrong answer or a crash, minimal and confirmed", 1, "failed", "VIOLATED", "bold red"),
    Word(KNOWN, "K", "every violation that was met is a known failure, with a reason", 0, "xfailed", style="yellow"),
    Word(
        CONFORMS,
        "c",
        "enough examples decided, and the claim held in all of them; of a pair or family: nothing graver was found",
        0,
        "passed",
        "ok",
        "green",
    ),
    Word(Outcome.REFUSED.value, "r", "what cannot work was refused in words"),
    Word(
        Outcome.UNDECIDED.value,
        "u",
        "nobody can say: closer than the error of the computation, or nothing to compare with",
    ),
    Word(
        Outcome.NOT_APPLICABLE.value, "n", "the claim says nothing here, or the base model alone fails too", short="n/a"
    ),
    Word(ABSENT, "a", "the installed releases have no such class"),
    Word(IMPOSSIBLE, "i", "these releases cannot be installed or imported together"),
    Word(NOT_RUN, "-", "no file has this result", style="magenta", css="x"),
)
TABLE: dict[str, Word] = {
    row.text: row._replace(short=row.short or row.text, css=row.css or row.letter) for row in _ROWS
}
"""Every word, the gravest first: in the order of the exit codes, where broken and incomplete hide what is red."""

PAIR_WORDS = tuple(TABLE)
"""Every word for a pair of releases, the gravest first."""
WORDS = tuple(text for text in TABLE if text != INCOMPLETE)
"""Every word for one item, the gravest first."""
_FOUND = WORDS.index(VIOLATES) + 1
FAMILY_WORDS = (*WORDS[:_FOUND], INCOMPLETE, *WORDS[_FOUND:])
"""Every word for a family in a pair: a violation that an incomplete run did find is shown before that it is incomplete."""
NO_DECISION_WORDS = tuple(text for text in WORDS if TABLE[text].code is None)
"""The words for items in which nothing was decided."""
_WANTED = (CONFORMS, KNOWN, VIOLATES)
USEFUL = (*_WANTED, *(text for text in PAIR_WORDS if text not in _WANTED))
"""The words for a pair, in the order of somebody who is looking for one to use."""


def title(word: str) -> str:
    """``word`` where it stands alone, for a pair or a family."""
    return "known failures" if word == KNOWN else word


def gravest(words: Iterable[str]) -> str:
    """The word for one item that several files have; *not run* if none has it."""
    return min(words, key=WORDS.index, default=NOT_RUN)


def summarised(words: Iterable[str], *, finished: bool, order: tuple[str, ...] = PAIR_WORDS) -> str:
    """The one word for many results: no better than *incomplete* unless all were run, by runs that ``finished``."""
    found = set(words)
    if not finished or (NOT_RUN in found and found != {NOT_RUN}):
        found.add(INCOMPLETE)
    return min(found, key=order.index, default=NOT_RUN)
