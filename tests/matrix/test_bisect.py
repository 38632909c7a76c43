"""Bisection: neighbours that were both looked at, in few runs, where nothing is monotone."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.matrix.bisect import Look, Neighbours, Search, Seen

pytestmark = pytest.mark.light

LOOKS = {"g": Look.GOOD, "b": Look.BAD, "-": Look.NEITHER}
quiet = settings(derandomize=True, database=None, deadline=None, max_examples=300)


class Releases:
    """Releases 0, 1, 2, ... that look as a text says: good, bad or neither. Counts what is asked."""

    def __init__(self, looks: str) -> None:
        self.looks = looks
        self.asked: list[int] = []

    def look(self, release: str) -> Seen:
        self.asked.append(int(release))
        return Seen(release=release, look=LOOKS[self.looks[int(release)]], why=self.looks[int(release)])

    def search(self) -> Search:
        return Search([str(index) for index in range(len(self.looks))], self.look)


def neighbours(found: Neighbours) -> tuple[int, int] | None:
    return (int(found.older.release), int(found.newer.release)) if found.older and found.newer else None


def between(looks: str) -> tuple[Neighbours, Releases]:
    releases = Releases(looks)
    return releases.search().between("0", str(len(looks) - 1)), releases


@pytest.mark.parametrize(
    ("looks", "expected", "skipped"),
    [
        ("bg", (0, 1), ()),
        ("gggbbbbb", (2, 3), ()),
        ("bbbbbbbg", (6, 7), ()),
        ("b---g", (0, 4), ("1", "2", "3")),
        ("bb--gg", (1, 4), ("2", "3")),
        ("bbg--", (1, 2), ()),
    ],
)
def test_the_neighbours_are_found(looks: str, expected: tuple[int, int], skipped: tuple[str, ...]) -> None:
    found, _ = between(looks)
    assert neighbours(found) == expected
    assert found.skipped == skipped


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ("bbgbb", "both ends are bad: 0 and 4"),
        ("gg--", "both ends are good: 0 and 1"),
        ("-bg", "0 cannot be judged: -"),
        ("b---", "nothing but 0 can be judged between 0 and 3"),
    ],
)
def test_ends_that_look_the_same_or_cannot_be_judged_are_told(looks: str, why: str) -> None:
    found, _ = between(looks)
    assert (neighbours(found), found.why) == (None, why)


def test_the_end_may_be_the_older_one() -> None:
    releases = Releases("ggbb")
    assert neighbours(releases.search().between("3", "0")) == (1, 2)


def test_both_ends_are_looked_at_first() -> None:
    _, releases = between("gggbbbbb")
    assert releases.asked[:2] == [0, 7]


def test_what_was_not_tried_is_said() -> None:
    found, releases = between("ggggggggb" + "b" * 8)
    assert set(found.untried) == {str(index) for index in range(17)} - {str(index) for index in releases.asked}


@pytest.mark.parametrize(
    ("looks", "start", "expected", "most"),
    [
        ("bbbbg", 0, (3, 4), 5),
        ("ggbbb", 3, (1, 2), 5),
        ("bg", 0, (0, 1), 2),
        ("b--g", 0, (0, 3), 4),
        ("gbg", 1, (1, 2), 2),
        ("b" * 60 + "g" * 60, 55, (59, 60), 6),
    ],
)
def test_without_an_end_it_goes_on_in_longer_steps_to_newer_releases_first(
    looks: str, start: int, expected: tuple[int, int], most: int
) -> None:
    releases = Releases(looks)
    assert neighbours(releases.search().around(str(start))) == expected
    assert len(releases.asked) <= most


def test_where_everything_looks_the_same_nothing_is_found() -> None:
    found = Releases("bbbbb").search().around("2")
    assert (neighbours(found), found.why) == (None, "everything that was looked at is bad, as 2 is")


any_looks = st.text(alphabet="gb-", min_size=1, max_size=40)


def check(found: Neighbours, releases: Releases) -> None:
    """What holds of every answer: both sides were looked at and differ, and nothing between them can be judged."""
    assert len(releases.asked) == len(set(releases.asked))
    if (pair := neighbours(found)) is not None:
        older, newer = pair
        assert {releases.looks[older], releases.looks[newer]} == {"g", "b"}
        assert set(releases.looks[older + 1 : newer]) <= {"-"}
        assert set(range(older, newer + 1)) <= set(releases.asked)
    else:
        assert found.why


@quiet
@given(any_looks)
def test_neighbours_differ_whatever_lies_around_them(looks: str) -> None:
    found, releases = between(looks)
    check(found, releases)
    judged = looks[0] + looks[1:].rstrip("-")[-1:]
    assert (neighbours(found) is not None) == (set(judged) == {"g", "b"})
    assert len(releases.asked) <= 2 + ceil(log2(len(looks))) + looks.count("-")


@quiet
@given(any_looks, st.data())
def test_neighbours_differ_wherever_it_starts(looks: str, data: st.DataObject) -> None:
    releases = Releases(looks)
    start = data.draw(st.integers(0, len(looks) - 1))
    check(releases.search().around(str(start)), releases)


def test_nothing_is_asked_twice() -> None:
    releases = Releases("bbgg")
    search = releases.search()
    assert neighbours(search.around("0")) == neighbours(search.around("0")) == (1, 2)
    assert len(releases.asked) == len(set(releases.asked))
