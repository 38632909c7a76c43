"""Items are spread by what they share: whole pieces, the largest first, and no worker idles while another has much left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("xdist")
from conformance.core.options import OPTIONS
from conformance.pytest_plugin import spreading
from conformance.pytest_plugin.spreading import Piece, Spreading, pieces_of
from conformance.session.selection import resolve

pytestmark = pytest.mark.light


class Node:
    """A worker that does what it is told, when it is told to."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.name, self.shutting_down = name, False
        self.given: list[list[int]] = []
        self.asked: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        """New work."""
        self.given.append(list(indices))

    def send_steal(self, indices: list[int]) -> None:
        """Some of it is wanted back."""
        self.asked = list(indices)

    def shutdown(self) -> None:
        """No more work."""
        self.shutting_down = True


def scheduler(sizes: dict[str, int], kinds: dict[str, Piece]) -> tuple[Any, Node, Node]:
    """Two workers, and so many items of each piece, in turn, so that no piece lies together."""
    names = [f"{piece} {n}" for n in range(max(sizes.values())) for piece, size in sizes.items() if n < size]
    made = Spreading.__new__(Spreading)
    made.numnodes, made.node2collection, made.node2pending = 2, {}, {}
    made.pending, made.collection, made.kinds = [], None, {}
    made.config, made.log, made.steal_requested_from_node = None, lambda *_: None, None
    made.piece_of = lambda name: kinds[name.split()[0]]
    nodes = Node("one"), Node("two")
    for node in nodes:
        made.add_node(node)
        made.add_node_collection(node, names)
    made.schedule()
    return made, *nodes


def pieces(made: Any, node: Node) -> list[set[str]]:
    """The pieces of which each parcel is made that ``node`` was given."""
    return [{made.collection[index].split()[0] for index in parcel} for parcel in node.given]


KINDS = {
    "a": Piece("a", "plain"),
    "b": Piece("b", "plain"),
    "c": Piece("c", "placed", 3.0),
    "d": Piece("d", "placed", 3.0),
}


def finish(made: Any, node: Node, left: int = 0) -> None:
    """Let ``node`` finish all but ``left`` of what it has been given so far."""
    for index in list(made.node2pending[node])[: len(made.node2pending[node]) - left]:
        made.mark_test_complete(node, index)


def test_a_piece_is_never_torn_while_another_is_left_and_the_largest_comes_first() -> None:
    made, one, two = scheduler({"a": 4, "b": 6, "c": 3, "d": 5}, KINDS)
    assert (pieces(made, one), pieces(made, two)) == ([{"d"}], [{"b"}])
    finish(made, two, left=1)
    assert pieces(made, two) == [{"b"}, {"a"}]  # of its own kind, though "c" is larger
    finish(made, one, left=1)
    assert pieces(made, one) == [{"d"}, {"c"}]
    assert not two.asked + one.asked


def test_an_idle_worker_takes_the_second_half_of_the_last_piece() -> None:
    made, one, two = scheduler({"a": 30, "b": 4}, KINDS)
    finish(made, two, left=1)
    assert one.asked == made.node2pending[one][-15:]
    made.remove_pending_tests_from_node(one, one.asked)
    assert two.given[-1] == one.asked
    assert len(made.node2pending[one]) == 15


def test_what_costs_little_is_not_taken_from_who_has_begun_it() -> None:
    made, one, two = scheduler({"a": 12, "b": 4}, KINDS)
    finish(made, two, left=1)
    assert not one.asked
    assert two.shutting_down
    assert not one.shutting_down


def test_where_time_is_short_the_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "is_limited", lambda: True)
    names = {"x": Piece("x"), "y": Piece("y", cost=9.0)}
    made, one, two = scheduler({"x": 2, "y": 2}, names)
    assert [made.collection[index] for parcel in one.given for index in parcel] == ["x 0", "y 0"]
    assert [made.collection[index] for parcel in two.given for index in parcel] == ["x 1", "y 1"]


def test_every_item_of_the_default_run_has_a_piece() -> None:
    selection = resolve({option.name: () for option in OPTIONS})
    found = pieces_of(selection)
    assert {str(item) for item in selection.items} <= set(found)
    assert {piece.name for piece in found.values()} == {
        f"{family} {kind}" for family in selection.families for kind in ("plain", "placed")
    }
