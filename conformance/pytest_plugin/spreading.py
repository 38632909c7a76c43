"""How items are spread over workers. Items that share a lab are one piece, since whoever judges one of them pays for the runs.

A piece is the items of one family on plain models, or those on placed ones, which are judged in a child with a lab of its own.
A worker is given the largest piece that is left, of the kind that it has judged before: then only one of two workers needs the
child for placed models. Where no piece is left, an idle worker takes the second half of what the busiest one has not begun, if
that is worth what is then paid twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from xdist.scheduler import WorkStealingScheduling
from xdist.workermanage import WorkerController

from conformance.session.selection import Selection
from conformance.session.time_budget import is_limited

MIN_PENDING = 2
"""A worker begins an item only when it knows the next one."""
PLACED, PICTURES = 3.0, 2.0
"""What an item costs, relative to one of a text family on plain models: roughly, to decide who begins with what."""
WORTH = 8.0
"""Half of a piece that costs less than so many items is not taken from who has begun it: its models are built again."""


class Piece(NamedTuple):
    """What an item belongs to. ``kind``: where it is judged."""

    name: str
    kind: str = ""
    cost: float = 1.0


def pieces_of(selection: Selection) -> dict[str, Piece]:
    """The piece of every item, by the item's name."""
    clause_and_family = {str(item): (item.clause, item.family) for item in selection.items}
    clause_and_family |= {f"known[{entry.id}]": (entry.clause, entry.case.family) for entry in selection.replays}
    return {name: _piece(selection, clause, family) for name, (clause, family) in clause_and_family.items()}


def _piece(selection: Selection, clause: str, family: str) -> Piece:
    placed = selection.clauses[clause].placed
    pictures = selection.families[family].inputs != "text"
    kind = "placed" if placed else "plain"
    return Piece(f"{family} {kind}", kind, (PLACED if placed else 1.0) * (PICTURES if pictures else 1.0))


class Spreading(WorkStealingScheduling):  # type: ignore[misc]  # xdist has no types
    """xdist's scheduler that steals, for pieces in place of items."""

    pending: list[int]
    collection: list[str] | None
    node2pending: dict[WorkerController, list[int]]
    steal_requested_from_node: WorkerController | None

    def __init__(self, config: object, log: object, piece_of: Callable[[str], Piece]) -> None:
        super().__init__(config, log)
        self.piece_of = piece_of
        self.kinds: dict[WorkerController, str] = {}

    def check_schedule(self) -> None:
        """Give every idle worker a piece, or half of another's, or let it end."""
        for node in self._idle():
            self._give(node)
        idle = self._idle()
        if not idle or self.steal_requested_from_node is not None:
            return
        busiest = max(self._up(), key=lambda node: self.cost(self.node2pending[node]))
        taken = self.second_half(self.node2pending[busiest])
        if taken:
            self.steal_requested_from_node = busiest
            busiest.send_steal(taken)
            return
        for node in idle:
            node.shutdown()

    def _up(self) -> list[WorkerController]:
        return [node for node in self.node2pending if not node.shutting_down]

    def _idle(self) -> list[WorkerController]:
        return [node for node in self._up() if len(self.node2pending[node]) < MIN_PENDING]

    def _give(self, node: WorkerController) -> None:
        """The next piece for ``node``, if one is left; pieces until it has something to begin."""
        while self.pending and len(self.node2pending[node]) < MIN_PENDING:
            piece = self.next_piece(node)
            self.pending = [index for index in self.pending if index not in set(piece)]
            self.node2pending[node].extend(piece)
            node.send_runtest_some(piece)

    def next_piece(self, node: WorkerController) -> list[int]:
        """The largest piece of the kind that ``node`` had before, or that nobody has, or of any. In order where time is short."""
        if is_limited():
            return list(next(groupby(self.pending, key=lambda index: self.piece(index).name))[1])
        pieces: dict[str, list[int]] = {}
        for index in self.pending:
            pieces.setdefault(self.piece(index).name, []).append(index)
        others = {kind for other, kind in self.kinds.items() if other is not node}
        chosen = max(pieces.values(), key=lambda piece: (self._suits(node, piece[0], others), self.cost(piece)))
        self.kinds[node] = self.piece(chosen[0]).kind
        return chosen

    def _suits(self, node: WorkerController, index: int, others: Iterable[str]) -> int:
        kind = self.piece(index).kind
        return 2 if kind == self.kinds.get(node) else int(kind not in others)

    def second_half(self, pending: Sequence[int]) -> list[int]:
        """The end of ``pending`` that costs at most half of it, if that is worth it."""
        taken: list[int] = []
        for index in reversed(pending[MIN_PENDING:]):
            if self.cost([*taken, index]) > self.cost(pending) / 2:
                break
            taken.insert(0, index)
        return taken if self.cost(taken) >= WORTH else []

    def piece(self, index: int) -> Piece:
        """The piece of an item. What is not ours is a piece by itself."""
        name = self.collection[index] if self.collection else ""
        return self.piece_of(name)

    def cost(self, indices: Iterable[int]) -> float:
        """What so many items cost."""
        return sum(self.piece(index).cost for index in indices)
