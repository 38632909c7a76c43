"""Many runs as one plain record: what is known of each pair of PEFT and transformers. Renderers show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from conformance.compat.versions import newest_first
from conformance.core.errors import UserError
from conformance.core.finding import Item
from conformance.core.outcome import (
    BROKEN,
    FAMILY_WORDS,
    IMPOSSIBLE,
    NOT_RUN,
    TABLE,
    USEFUL,
    WORDS,
    gravest,
    summarised,
)
from conformance.core.pair import AXES, Pair, product
from conformance.report.environment_facts import differences_in_pair, differences_in_settings, facts
from conformance.report.failures import Failure, KnownFailureReport, Reason, failures_in, known_failures_in, reasons_in
from conformance.report.phrases import names
from conformance.session.events import Run

NAMED = 6
"""How many items or families a note names."""
NO_ITEM = " "
"""In the place of a letter: nobody claims this clause of this family."""
INCOMPLETE_CODE = 3
"""The exit code of a run that is broken or incomplete."""


class PairReport(Struct, frozen=True, kw_only=True):
    """What is known of one pair. ``rows`` has a letter per result: for each clause, one for each subject.

    A subject is a family, with the method unless that is prefix tuning. ``word`` is the gravest that holds, ``subjects``
    says which of them have which. ``facts`` are those of the headers, with every value that occurs; ``notes`` say what is
    missing or contradictory, ``why`` why the pair is impossible. Nothing is green in a pair that is not ``finished``: one of
    its runs has no end.
    """

    pair: Pair
    word: str
    finished: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``PEFT 0.21.2 with transformers 5.23.0``."""
        return f"PEFT {self.pair.peft} with transformers {self.pair.transformers}"


class Merged(Struct, frozen=True, kw_only=True):
    """All pairs, those of the newest PEFT first. What went wrong points at them by their place in ``pairs``."""

    pairs: tuple[PairReport, ...]
    clauses: tuple[str, ...]
    subjects: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    undecided: tuple[Reason, ...] = ()
    known: tuple[KnownFailureReport, ...] = ()
    notes: tuple[str, ...] = ()

    def releases(self, axis: str) -> list[str]:
        """The releases of ``peft`` or of ``transformers``, the newest first."""
        return newest_first(report.pair.on(axis) for report in self.pairs)

    def places(self) -> dict[Pair, int]:
        """Where in ``pairs`` each pair is."""
        return {report.pair: place for place, report in enumerate(self.pairs)}

    def by_transformers(self) -> dict[str, list[int | None]]:
        """For each transformers, where in ``pairs`` each PEFT with it is, if it is there."""
        places, pefts = self.places(), self.releases("peft")
        return {other: [places.get(Pair(peft, other)) for peft in pefts] for other in self.releases("transformers")}

    def by_word(self) -> dict[str, list[PairReport]]:
        """Which pairs have which word, the most useful word first."""
        by_word = {word: [report for report in self.pairs if report.word == word] for word in USEFUL}
        return {word: reports for word, reports in by_word.items() if reports}


def merge_runs(runs: Iterable[Run]) -> Merged:
    """What ``runs`` say together, in whatever order they come and however often.

    Of several runs of one pair the worst verdict counts. An item that one pair has and another has not is *not run* there:
    a machine that was lost leaves no gap that looks green. Raises :class:`~conformance.core.errors.UserError` for a run that
    is of no pair.
    """
    gathered: dict[Pair, list[Run]] = {}
    for run in runs:
        check_run(run)
        gathered.setdefault(run.pair, []).append(run)
    releases = (newest_first(pair.on(axis) for pair in gathered) for axis in AXES)
    by_pair = {pair: gathered[pair] for pair in product(*releases) if pair in gathered}
    results = {pair: _results(of_pair) for pair, of_pair in by_pair.items()}
    items = sorted({item for words in results.values() for item in words})
    everything = tuple(by_pair.values())
    return Merged(
        pairs=tuple(_pair(pair, by_pair[pair], results[pair], items) for pair in by_pair),
        clauses=tuple(sorted({item.clause for item in items})),
        subjects=_subjects(items),
        failures=failures_in(everything),
        undecided=reasons_in(everything),
        known=known_failures_in(everything),
        notes=differences_in_settings(run for of_pair in everything for run in of_pair),
    )


def check_run(run: Run, source: str = "a run") -> None:
    """Raise a :class:`~conformance.core.errors.UserError`, which names ``source``, if ``run`` cannot be merged."""
    problems = [f"its header names no version of {name}" for name in AXES if not run.header.versions.get(name)]
    problems += [f"{cell.item} is called judged, but has no verdict" for cell in run.cells if cell.word not in WORDS]
    if problems:
        raise UserError(
            "malformed-events",
            f"{source}: {problems[0]}",
            "a report tells what was judged of which pair of PEFT and transformers",
            "give a file that --report wrote, unchanged",
        )


def _subjects(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(sorted({item.subject for item in items}))


def _results(runs: Iterable[Run]) -> dict[Item, set[str]]:
    """Every word that each item has in ``runs``; a run in which all is impossible has no items."""
    words: dict[Item, set[str]] = {}
    for run in runs:
        if any(cell.word != IMPOSSIBLE for cell in run.cells):
            for cell in run.cells:
                words.setdefault(cell.item, set()).add(cell.word)
    return words


def _pair(pair: Pair, runs: list[Run], results: dict[Item, set[str]], items: list[Item]) -> PairReport:
    finished = all(map(_finished, runs))
    why = {cell.why for run in runs for cell in run.cells if cell.word == IMPOSSIBLE}
    words = {} if why and not results else {item: gravest(results.get(item, ())) for item in items}
    broken = [BROKEN for run in runs for replay in run.known if replay.state == BROKEN]
    tally, headers = list(words.values()), facts(runs)
    return PairReport(
        pair=pair,
        word=summarised([*tally, *broken, *[IMPOSSIBLE] * bool(why)], finished=finished),
        finished=finished,
        counts={word: tally.count(word) for word in WORDS if word in tally},
        subjects=_by_word(words, finished),
        rows=_rows(words, items),
        facts=headers,
        notes=(*_unfinished(runs), *_missing(results, words), *differences_in_pair(headers), *_disputed(results, why)),
        why=tuple(sorted(why)),
    )


def _by_word(words: dict[Item, str], finished: bool) -> dict[str, tuple[str, ...]]:
    """Which subjects have which word."""
    of: dict[str, list[str]] = {}
    for item, word in words.items():
        of.setdefault(item.subject, []).append(word)
    one = {subject: summarised(of[subject], finished=finished, order=FAMILY_WORDS) for subject in sorted(of)}
    by_word = {word: tuple(subject for subject in one if one[subject] == word) for word in FAMILY_WORDS}
    return {word: subjects for word, subjects in by_word.items() if subjects}


def _rows(words: dict[Item, str], items: list[Item]) -> dict[str, str]:
    letters: dict[str, dict[str, str]] = {}
    for item, word in words.items():
        letters.setdefault(item.clause, {})[item.subject] = TABLE[word].letter
    return {
        clause: "".join(letters[clause].get(subject, NO_ITEM) for subject in _subjects(items))
        for clause in sorted(letters)
    }


def _finished(run: Run) -> bool:
    """Whether ``run`` came to its end, and left out nothing but what was asked to be left out."""
    lost = any(replay.state == BROKEN for replay in run.known) or any(cell.word == BROKEN for cell in run.cells)
    return run.footer is not None and (run.footer.exit_code != INCOMPLETE_CODE or lost)


def _unfinished(runs: list[Run]) -> Iterator[str]:
    cut = [run for run in runs if not _finished(run)]
    running = sorted({item for run in cut for item in run.running})
    if cut:
        yield "a run did not finish" + (f"; it was judging {names(running, NAMED)}" if running else "")
    fixed = sorted({replay.id for run in runs for replay in run.known if replay.state == "mended"})
    if fixed:
        yield f"listed as a known failure, but fixed: {names(fixed, NAMED)}"


def _missing(results: dict[Item, set[str]], words: dict[Item, str]) -> list[str]:
    missing = [item for item in words if item not in results]
    subjects = names(_subjects(missing), NAMED)
    return [f"{len(missing)} of {len(words)} results are missing from the files, for {subjects}"] if missing else []


def _disputed(results: dict[Item, set[str]], why: set[str]) -> Iterator[str]:
    """Where files contradict each other about one result."""
    disputed = {item: sorted(words) for item, words in sorted(results.items()) if len(words - {NOT_RUN}) > 1}
    if disputed:
        items = names((f"{item} ({' and '.join(words)})" for item, words in disputed.items()), NAMED)
        yield f"its files disagree on {len(disputed)} of {len(results)} results, and the worst word counts: {items}"
    if why and results:
        yield "one file calls the pair impossible, another has results"
