"""What went wrong in many runs, each thing once: violations, known failures, and why nothing was decided."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from conformance.core.finding import Finding, encode
from conformance.core.outcome import ABSENT, BROKEN, CONFORMS, IMPOSSIBLE, KNOWN, NOT_RUN, VIOLATES, WORDS, How
from conformance.session.events import Replayed, Run

Key = tuple[str, ...]


class Place(Struct, frozen=True, order=True):
    """A result: the place of its pair, the newest being 0, its clause, its family."""

    pair: int
    clause: str
    family: str

    @property
    def item(self) -> str:
        """``clause[family]``, as pytest and the command line name it."""
        return f"{self.clause}[{self.family}]"


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


class Known(Struct, frozen=True, kw_only=True):
    """A known failure: what its entry says, what its replays said in which pairs, and which results met it."""

    id: str
    function: str = ""
    reason: str = ""
    links: tuple[str, ...] = ()
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)
    why: tuple[str, ...] = ()
    at: tuple[Place, ...] = ()
    finding: Finding | None = None


def failures(pairs: Sequence[Sequence[Run]]) -> tuple[Failure, ...]:
    """The violations, grouped: those of the newest pair first, and among them those that most results have."""
    groups: dict[Key, list[tuple[Place, Finding]]] = {}
    for place, run in _runs(pairs):
        for cell in run.cells:
            finding = cell.verdict.finding if cell.verdict and cell.word == VIOLATES else None
            if finding:
                groups.setdefault(kind(finding), []).append((Place(place, cell.clause, cell.family), finding))
    return tuple(sorted(map(_failure, groups.values()), key=lambda one: (one.at[0].pair, -len(one.at), one.at)))


def kind(finding: Finding) -> Key:
    """What makes violations of several releases one: the same crash in the same function, whichever clause met it.

    Line numbers differ between releases and do not count.
    """
    where = re.sub(r":\d+", "", finding.where)
    if finding.how is How.CRASH and where:
        return finding.how.value, where, finding.difference.got.partition(":")[0]
    return finding.clause, finding.how.value, where


def _failure(group: list[tuple[Place, Finding]]) -> Failure:
    group.sort(key=lambda found: (found[0], encode(found[1])))
    items: dict[str, Finding] = {}
    for place, finding in group:
        items.setdefault(place.item, finding)
    first, *also = items.values()
    return Failure(finding=first, also=tuple(also), at=_once(place for place, _ in group))


def undecided(pairs: Sequence[Sequence[Run]]) -> tuple[Reason, ...]:
    """Why which results have no decision; the broken ones first."""
    groups: dict[Key, list[tuple[Place, str]]] = {}
    for name, place, why in _reasons(pairs):
        # Refusals of different families differ by a class name; what broke or is missing is told to the letter.
        key = (name, why) if name in (BROKEN, ABSENT, NOT_RUN) else (name, place.clause)
        groups.setdefault(key, []).append((place, why))
    return tuple(sorted((_reason(key[0], met) for key, met in groups.items()), key=_gravest_first))


def _reasons(pairs: Sequence[Sequence[Run]]) -> Iterator[tuple[str, Place, str]]:
    for pair, run in _runs(pairs):
        for cell in run.cells:
            if cell.word not in (CONFORMS, KNOWN, VIOLATES, IMPOSSIBLE):
                yield cell.word, Place(pair, cell.clause, cell.family), cell.reasons.strip()
        for replay in run.known:
            if replay.state == BROKEN:
                yield BROKEN, Place(pair, replay.item, replay.family), replay.why


def _reason(name: str, met: list[tuple[Place, str]]) -> Reason:
    text = min(met)[1]
    others = len({why for _, why in met}) - 1
    return Reason(word=name, text=text, at=_once(place for place, _ in met), others=others)


def _gravest_first(reason: Reason) -> tuple[int, tuple[Place, ...], str]:
    return WORDS.index(reason.word), reason.at, reason.text


def known(pairs: Sequence[Sequence[Run]]) -> tuple[Known, ...]:
    """The known failures that were replayed or met, by name."""
    replays: dict[str, list[tuple[int, Replayed]]] = {}
    met: dict[str, list[Place]] = {}
    for place, run in _runs(pairs):
        for replay in run.known:
            replays.setdefault(replay.id, []).append((place, replay))
        for cell in run.cells:
            for id in cell.verdict.known if cell.verdict else ():
                met.setdefault(id, []).append(Place(place, cell.clause, cell.family))
    return tuple(_known(id, replays.get(id, []), met.get(id, [])) for id in sorted({*replays, *met}))


def _known(id: str, replays: list[tuple[int, Replayed]], met: list[Place]) -> Known:
    replays.sort(key=lambda found: (found[0], encode(found[1])))
    states: dict[str, set[int]] = {}
    for place, replay in replays:
        states.setdefault(replay.state, set()).add(place)
    told = next((replay for _, replay in replays if replay.reason or replay.function), None)
    return Known(
        id=id,
        function=told.function if told else "",
        reason=told.reason if told else "",
        links=told.links if told else (),
        states={state: tuple(sorted(places)) for state, places in sorted(states.items())},
        why=tuple(dict.fromkeys(replay.why for _, replay in replays if replay.why)),
        at=_once(met),
        finding=next((replay.finding for _, replay in replays if replay.finding), None),
    )


def _runs(pairs: Sequence[Sequence[Run]]) -> Iterator[tuple[int, Run]]:
    for place, runs in enumerate(pairs):
        yield from ((place, run) for run in runs)


def _once(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(sorted(set(places)))
