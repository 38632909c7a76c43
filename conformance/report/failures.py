"""What went wrong in many runs, each thing once: violations, known failures, and why nothing was decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from conformance.core.finding import Finding, Item, encode
from conformance.core.outcome import ABSENT, BROKEN, CONFORMS, IMPOSSIBLE, KNOWN, NOT_RUN, VIOLATES, WORDS
from conformance.session.events import Replayed, Run

Key = tuple[str, ...]


class Place(Struct, frozen=True, order=True):
    """A result: the place of its pair, the newest being 0, and its item."""

    pair: int
    item: Item


class Failure(Struct, frozen=True, kw_only=True):
    """Violations that are one: ``finding`` is that of the newest pair, ``also`` has one for each further item."""

    finding: Finding
    also: tuple[Finding, ...]
    at: tuple[Place, ...]


class Reason(Struct, frozen=True, kw_only=True):
    """Why results have no decision, or are broken: in the words of the first, and how many ``others`` there are."""

    word: str
    text: str
    at: tuple[Place, ...]
    others: int = 0


class KnownFailureReport(Struct, frozen=True, kw_only=True):
    """A known failure: what its entry says, what its replays said in which pairs, and which results met it."""

    id: str
    function: str = ""
    reason: str = ""
    links: tuple[str, ...] = ()
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)
    why: tuple[str, ...] = ()
    at: tuple[Place, ...] = ()
    finding: Finding | None = None


def same_violation(finding: Finding) -> Key:
    """Equal for violations that are shown as one: those of one method with the same key."""
    return finding.item.method, *finding.key


def failures_in(pairs: Sequence[Sequence[Run]]) -> tuple[Failure, ...]:
    """The violations, grouped: those of the newest pair first, and among them those that most results have."""
    groups: dict[Key, list[tuple[Place, Finding]]] = {}
    for pair, run in _runs(pairs):
        for cell in run.cells:
            finding = cell.verdict.finding if cell.verdict and cell.word == VIOLATES else None
            if finding:
                groups.setdefault(same_violation(finding), []).append((Place(pair, cell.item), finding))
    return tuple(sorted(map(_failure, groups.values()), key=lambda one: (one.at[0].pair, -len(one.at), one.at)))


def _failure(group: list[tuple[Place, Finding]]) -> Failure:
    group.sort(key=lambda member: (member[0], encode(member[1])))
    items: dict[Item, Finding] = {}
    for place, finding in group:
        items.setdefault(place.item, finding)
    first, *also = items.values()
    return Failure(finding=first, also=tuple(also), at=_once(place for place, _ in group))


def reasons_in(pairs: Sequence[Sequence[Run]]) -> tuple[Reason, ...]:
    """Why which results have no decision; the broken ones first."""
    groups: dict[Key, list[tuple[Place, str]]] = {}
    for word, place, why in _reasons(pairs):
        # Refusals of different families differ by a class name; what broke or is missing must be the same to the letter.
        alike = (why,) if word in (BROKEN, ABSENT, NOT_RUN) else (place.item.clause, place.item.method)
        groups.setdefault((word, *alike), []).append((place, why))
    return tuple(sorted((_reason(key[0], group) for key, group in groups.items()), key=_gravest_first))


def _reasons(pairs: Sequence[Sequence[Run]]) -> Iterator[tuple[str, Place, str]]:
    for pair, run in _runs(pairs):
        for cell in run.cells:
            if cell.word not in (CONFORMS, KNOWN, VIOLATES, IMPOSSIBLE):
                yield cell.word, Place(pair, cell.item), cell.reasons.strip()
        for replay in run.known:
            if replay.state == BROKEN:
                yield BROKEN, Place(pair, Item(replay.item, replay.family, replay.method)), replay.why


def _reason(word: str, group: list[tuple[Place, str]]) -> Reason:
    others = len({why for _, why in group}) - 1
    return Reason(word=word, text=min(group)[1], at=_once(place for place, _ in group), others=others)


def _gravest_first(reason: Reason) -> tuple[int, tuple[Place, ...], str]:
    return WORDS.index(reason.word), reason.at, reason.text


def known_failures_in(pairs: Sequence[Sequence[Run]]) -> tuple[KnownFailureReport, ...]:
    """The known failures that were replayed or met, by name."""
    replays: dict[str, list[tuple[int, Replayed]]] = {}
    met: dict[str, list[Place]] = {}
    for pair, run in _runs(pairs):
        for replay in run.known:
            replays.setdefault(replay.id, []).append((pair, replay))
        for cell in run.cells:
            for id in cell.verdict.known if cell.verdict else ():
                met.setdefault(id, []).append(Place(pair, cell.item))
    return tuple(_known_failure(id, replays.get(id, []), met.get(id, [])) for id in sorted({*replays, *met}))


def _known_failure(id: str, replays: list[tuple[int, Replayed]], met: list[Place]) -> KnownFailureReport:
    replays.sort(key=lambda replay: (replay[0], encode(replay[1])))
    states: dict[str, set[int]] = {}
    for pair, replay in replays:
        states.setdefault(replay.state, set()).add(pair)
    entry = next((replay for _, replay in replays if replay.reason or replay.function), None)
    return KnownFailureReport(
        id=id,
        function=entry.function if entry else "",
        reason=entry.reason if entry else "",
        links=entry.links if entry else (),
        states={state: tuple(sorted(pairs)) for state, pairs in sorted(states.items())},
        why=tuple(dict.fromkeys(replay.why for _, replay in replays if replay.why)),
        at=_once(met),
        finding=next((replay.finding for _, replay in replays if replay.finding), None),
    )


def _runs(pairs: Sequence[Sequence[Run]]) -> Iterator[tuple[int, Run]]:
    for place, runs in enumerate(pairs):
        yield from ((place, run) for run in runs)


def _once(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(sorted(set(places)))
