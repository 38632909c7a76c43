"""Many runs as one plain record: what is known of each pair of PEFT and transformers. Renderers show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from conformance.compat.versions import JUDGED, newest_first
from conformance.core.errors import UserError
from conformance.core.outcome import (
    BROKEN,
    FAMILY_WORDS,
    IMPOSSIBLE,
    NOT_RUN,
    TABLE,
    USEFUL,
    WORDS,
    State,
    gravest,
    summarised,
)
from conformance.report.environment_facts import contradictions, facts, strangers
from conformance.report.failures import Failure, Known, Reason, failures, known, undecided
from conformance.session.events import Run

Item = tuple[str, str]
"""A clause and a family."""
NAMED = 6
"""How many items or families a note names."""
NO_ITEM = " "
"""In the place of a letter: nobody claims this clause of this family."""
INCOMPLETE_CODE = 3
"""The exit code of a run that is broken or incomplete."""


class Pair(Struct, frozen=True, kw_only=True):
    """One PEFT with one transformers. ``rows`` has a letter per result: for each clause, one for each family.

    ``word`` is the gravest that holds, ``families`` says which families have which. ``facts`` are those of the headers,
    with every value that occurs; ``notes`` say what is missing or contradictory, ``why`` why the pair is impossible.
    Nothing is green in a pair that is not ``finished``: one of its runs has no end.
    """

    peft: str
    transformers: str
    word: str
    finished: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``PEFT 0.21.2 with transformers 5.23.0``."""
        return f"PEFT {self.peft} with transformers {self.transformers}"


class Merged(Struct, frozen=True, kw_only=True):
    """All pairs, those of the newest PEFT first. What went wrong points at them by their place in ``pairs``."""

    pairs: tuple[Pair, ...]
    clauses: tuple[str, ...]
    families: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    undecided: tuple[Reason, ...] = ()
    known: tuple[Known, ...] = ()
    notes: tuple[str, ...] = ()

    def releases(self, name: str) -> list[str]:
        """The releases of ``peft`` or of ``transformers``, the newest first."""
        return newest_first(getattr(pair, name) for pair in self.pairs)

    def places(self) -> dict[tuple[str, str], int]:
        """Where in ``pairs`` a PEFT with a transformers is."""
        return {(pair.peft, pair.transformers): place for place, pair in enumerate(self.pairs)}

    def by_word(self) -> dict[str, list[Pair]]:
        """Which pairs have which word, the most useful word first."""
        found = {name: [pair for pair in self.pairs if pair.word == name] for name in USEFUL}
        return {name: pairs for name, pairs in found.items() if pairs}


def merge(runs: Iterable[Run]) -> Merged:
    """What ``runs`` say together, in whatever order they come and however often.

    Of several runs of one pair the worst verdict counts. An item that one pair has and another has not is *not run* there:
    a machine that was lost leaves no gap that looks green. Raises :class:`~conformance.core.errors.UserError` for a run that
    is of no pair.
    """
    gathered: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        check(run)
        peft, transformers = (run.header.versions[name] for name in JUDGED)
        gathered.setdefault((peft, transformers), []).append(run)
    pefts, others = newest_first(peft for peft, _ in gathered), newest_first(other for _, other in gathered)
    keys = [(peft, other) for peft in pefts for other in others if (peft, other) in gathered]
    pairs = [gathered[key] for key in keys]
    results = [_results(same) for same in pairs]
    items = sorted({item for found in results for item in found})
    return Merged(
        pairs=tuple(_pair(key, gathered[key], found, items) for key, found in zip(keys, results, strict=True)),
        clauses=tuple(sorted({clause for clause, _ in items})),
        families=tuple(sorted({family for _, family in items})),
        failures=failures(pairs),
        undecided=undecided(pairs),
        known=known(pairs),
        notes=strangers([run for same in pairs for run in same]),
    )


def check(run: Run, source: str = "a run") -> None:
    """Raise a :class:`~conformance.core.errors.UserError`, which names ``source``, if ``run`` cannot be merged."""
    problems = [f"its header names no version of {name}" for name in JUDGED if not run.header.versions.get(name)]
    problems += [f"{cell.item} is called judged, but has no verdict" for cell in run.cells if cell.word not in WORDS]
    if problems:
        raise UserError(
            "malformed-events",
            f"{source}: {problems[0]}",
            "a report tells what was judged of which pair of PEFT and transformers",
            "give a file that --report wrote, unchanged",
        )


def _results(runs: Iterable[Run]) -> dict[Item, set[str]]:
    """Every word that each item has in ``runs``; a run in which all is impossible has no items."""
    found: dict[Item, set[str]] = {}
    for run in runs:
        if any(cell.state is not State.IMPOSSIBLE for cell in run.cells):
            for cell in run.cells:
                found.setdefault((cell.clause, cell.family), set()).add(cell.word)
    return found


def _pair(key: tuple[str, str], runs: list[Run], results: dict[Item, set[str]], items: list[Item]) -> Pair:
    finished = all(map(_finished, runs))
    why = {cell.why for run in runs for cell in run.cells if cell.state is State.IMPOSSIBLE}
    words = {} if why and not results else {item: gravest(results.get(item, ())) for item in items}
    said = [*words.values(), *[IMPOSSIBLE] * bool(why)]
    said += [BROKEN for run in runs for replay in run.known if replay.state == BROKEN]
    tally, headers = list(words.values()), facts(runs)
    return Pair(
        peft=key[0],
        transformers=key[1],
        word=summarised(said, finished=finished),
        finished=finished,
        counts={name: tally.count(name) for name in WORDS if name in tally},
        families=_families(words, finished),
        rows=_rows(words, items),
        facts=headers,
        notes=(*_unfinished(runs), *_missing(results, words), *contradictions(headers), *_disputed(results, why)),
        why=tuple(sorted(why)),
    )


def _families(words: dict[Item, str], finished: bool) -> dict[str, tuple[str, ...]]:
    of: dict[str, list[str]] = {}
    for (_, family), name in words.items():
        of.setdefault(family, []).append(name)
    one = {family: summarised(names, finished=finished, order=FAMILY_WORDS) for family, names in of.items()}
    listed = {name: tuple(sorted(family for family in one if one[family] == name)) for name in FAMILY_WORDS}
    return {name: families for name, families in listed.items() if families}


def _rows(words: dict[Item, str], items: list[Item]) -> dict[str, str]:
    families = sorted({family for _, family in items})
    clauses = sorted({clause for clause, _ in items}) if words else ()
    letters = {item: TABLE[name].letter for item, name in words.items()}
    return {c: "".join(letters.get((c, family), NO_ITEM) for family in families) for c in clauses}


def _finished(run: Run) -> bool:
    """Whether ``run`` came to its end, and left out nothing but what was asked to be left out."""
    lost = any(replay.state == BROKEN for replay in run.known) or any(cell.word == BROKEN for cell in run.cells)
    return run.footer is not None and (run.footer.exit_code != INCOMPLETE_CODE or lost)


def _unfinished(runs: list[Run]) -> Iterator[str]:
    left = [run for run in runs if not _finished(run)]
    running = sorted({item for run in left for item in run.running})
    if left:
        yield "a run did not finish" + (f"; it was judging {listed(running)}" if running else "")
    mended = sorted({replay.id for run in runs for replay in run.known if replay.state == "mended"})
    if mended:
        yield f"no longer fails, though it is a known failure: {listed(mended)}"


def _missing(results: dict[Item, set[str]], words: dict[Item, str]) -> list[str]:
    lost = [item for item in words if item not in results]
    families = listed(sorted({family for _, family in lost}))
    return [f"{len(lost)} of {len(words)} results are in no file: of {families}"] if lost else []


def _disputed(results: dict[Item, set[str]], why: set[str]) -> list[str]:
    """Where files contradict each other about one result."""
    disputed = {item: sorted(names) for item, names in sorted(results.items()) if len(names - {NOT_RUN}) > 1}
    said = [f"{clause}[{family}] ({' and '.join(names)})" for (clause, family), names in disputed.items()]
    notes = (
        [f"its files differ about {len(said)} of {len(results)} results; the gravest counts: {listed(said)}"]
        if said
        else []
    )
    return [*notes, *["one file calls the pair impossible, another has results"] * bool(why and results)]


def listed(names: list[str]) -> str:
    """``names``, as many as fit into a note."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
