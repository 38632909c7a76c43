"""Bisection along one axis of the matrix, with the other one held."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from conformance.compat.versions import is_preview, oldest_first
from conformance.core.errors import UserError
from conformance.core.pair import Pair, compare, tag
from conformance.matrix.bisect import Neighbours, Search, Seen
from conformance.matrix.releases import releases
from conformance.matrix.replays import Replays


class Axis(Struct, frozen=True, kw_only=True):
    """What was found along ``axis`` from the pair ``start`` on; ``links`` lead to both neighbours and what lies between."""

    axis: str
    start: Pair
    found: Neighbours
    links: tuple[str, ...] = ()


def along(
    axis: str, start: Pair, end: Pair | None, replays: Replays, *, pre: bool = False, report: Callable[[Seen], None]
) -> Axis:
    """Search from ``start`` to ``end``'s release, or as far as needed; ``report`` gets each release that is looked at."""
    ends = [start.on(axis)] + ([end.on(axis)] if end else [])
    known = _between(axis, oldest_first(set(ends)), pre)
    for release in ends:
        if release not in known:
            raise _no_such(axis, release)

    def look(release: str) -> Seen:
        seen = replays.look(start.moved(axis, release), axis)
        report(seen)
        return seen

    search = Search(known, look)
    neighbours = search.between(*ends) if end and len(set(ends)) > 1 else search.around(ends[0])
    return Axis(axis=axis, start=start, found=neighbours, links=_links(axis, neighbours))


def _between(axis: str, ends: list[str], pre: bool) -> tuple[str, ...]:
    pre = pre or any(map(is_preview, ends))
    wanted = f">={ends[0]},<={ends[1]}" if len(ends) > 1 else ""
    return releases(axis, wanted, pre)


def _links(axis: str, neighbours: Neighbours) -> tuple[str, ...]:
    if neighbours.older is None or neighbours.newer is None:
        return ()
    older, newer = neighbours.older.release, neighbours.newer.release
    return tag(axis, older), tag(axis, newer), compare(axis, older, newer)


def _no_such(axis: str, release: str) -> UserError:
    return UserError(
        "no-release",
        f"the index has no {axis} {release} for this Python",
        "both ends of a search are looked at first, so they must be there",
        "name a release that is there, or a pre-release with --pre",
    )
